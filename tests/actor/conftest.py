from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from daydreamer.actor.clock import ControlClock
from daydreamer.actor.loop import ControlLoop, StepRecord
from daydreamer.actor.policy_runner import Choice
from daydreamer.actor.recorder import Recorder
from daydreamer.wire.rows import POLICY, Array, Chunk, make_schema
from robots.base import (
    ActionSpec,
    ArraySpec,
    Arrival,
    CommandSpec,
    FloatArray,
    Reading,
    RobotError,
    RobotSpec,
)
from robots.safety import Safety, SafetyConfig

PERIOD_S = 0.05


class FakeTime:
    """A clock that only moves when it is told to; every sleep is remembered."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


class FakeRobot:
    """Two joints that are where they were sent; time passes by command."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.steps = 0
        self.joints = np.zeros(2, np.float32)
        self.fail_at: int | None = None

    @property
    def spec(self) -> RobotSpec:
        return RobotSpec(
            "fake",
            {"joint_position_rad": ArraySpec((2,), unit="rad")},
            CommandSpec(("a", "b"), "rad", (-2.0, -2.0), (2.0, 2.0)),
            1 / PERIOD_S,
        )

    def connect(self) -> None:
        self.calls.append("connect")

    def read(self) -> Reading:
        if self.steps == self.fail_at:
            raise RobotError("the cable is out: plug it in")
        return Reading(self.steps * PERIOD_S, {"joint_position_rad": self.joints.copy()})

    def command(self, target: FloatArray) -> FloatArray:
        self.steps += 1
        self.joints = np.clip(target, -1.5, 1.5).astype(np.float32)
        return self.joints

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("close")


class FakeTask:
    """Observes the joints; earns the step's number; commands are twice the action."""

    name = "fake"
    observations: Mapping[str, ArraySpec] = {"vector": ArraySpec((2,))}
    log_keys = ("height",)
    action = ActionSpec("continuous", 2)

    def __init__(self, episode_steps: int = 5) -> None:
        self.episode_steps = episode_steps
        self.step = 0

    def begin(self, reading: Reading) -> Arrival:
        self.step = 0
        return self._arrival(reading, 0.0)

    def arrive(self, reading: Reading) -> Arrival:
        self.step += 1
        return self._arrival(reading, float(self.step), self.step >= self.episode_steps)

    def to_command(self, action: FloatArray) -> FloatArray:
        return (2 * action).astype(np.float32)

    def from_command(self, sent: FloatArray) -> FloatArray:
        return (sent / 2).astype(np.float32)

    def _arrival(self, reading: Reading, reward: float, is_last: bool = False) -> Arrival:
        obs = {"vector": reading.values["joint_position_rad"]}
        return Arrival(obs, reward, is_last=is_last, log={"height": 0.5})


class FakeRunner:
    """Always the same action."""

    def __init__(self, action: tuple[float, float] = (0.25, 1.0)) -> None:
        self.action = np.array(action, np.float32)
        self.must_rest = False
        self.age_s = 1.0
        self.seen: list[tuple[list[float], bool]] = []

    def act(self, obs: Mapping[str, Array], executed: FloatArray, is_first: bool) -> Choice:
        self.seen.append((executed.tolist(), is_first))
        return Choice(self.action, 7, POLICY)


@dataclass
class Rig:
    """A control loop over fakes, and what came out of it."""

    robot: FakeRobot = field(default_factory=FakeRobot)
    task: FakeTask = field(default_factory=FakeTask)
    runner: FakeRunner = field(default_factory=FakeRunner)
    time: FakeTime = field(default_factory=FakeTime)
    chunks: list[Chunk] = field(default_factory=list)
    records: list[StepRecord] = field(default_factory=list)
    beats: int = 0

    def loop(self, chunk_rows: int = 3, realtime: bool = True) -> ControlLoop:
        def beat() -> None:
            self.beats += 1

        return ControlLoop(
            robot=self.robot,
            task=self.task,
            runner=self.runner,
            safety=Safety(SafetyConfig(), self.robot.spec),
            recorder=make_recorder(self.chunks, chunk_rows, self.time.now),
            clock=ControlClock(
                PERIOD_S, realtime=realtime, now=self.time.now, sleep=self.time.sleep
            ),
            report=self.records.append,
            beat=beat,
        )

    def column(self, name: str) -> list[object]:
        """One column of all rows sent, in order."""
        return [value for chunk in self.chunks for value in chunk.columns[name].tolist()]


def make_recorder(
    chunks: list[Chunk],
    chunk_rows: int,
    now: Callable[[], float],
    chunk_age_s: float = 10.0,
) -> Recorder:
    task = FakeTask()
    return Recorder(
        make_schema(task.observations, task.action.size, task.log_keys),
        run="run",
        actor="0",
        session="s",
        chunk_rows=chunk_rows,
        chunk_age_s=chunk_age_s,
        send=chunks.append,
        now=now,
    )


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def recorder_factory() -> Callable[..., Recorder]:
    return make_recorder
