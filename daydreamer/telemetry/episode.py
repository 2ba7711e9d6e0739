"""One episode of a trained policy, through the actor's own control loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from daydreamer import interrupts
from daydreamer.actor.clock import ControlClock
from daydreamer.actor.loop import ControlLoop, StepRecord
from daydreamer.actor.policy_runner import Choice
from daydreamer.actor.recorder import Recorder
from daydreamer.actor.session import stall_s
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.telemetry.film import Twin
from daydreamer.wire.rows import POLICY, Array, make_schema
from robots.base import FloatArray, Robot, Task
from robots.safety import Safety
from robots.watchdog import Watchdog

if TYPE_CHECKING:
    from daydreamer.config import Config

MAX_STEPS = 30_000  # a task that never ends its episode is cut here


class FixedPolicy:
    """A runner for the control loop whose policy never changes."""

    must_rest = False
    age_s = 0.0

    def __init__(
        self, policy: NumpyPolicy, version: int, mode: Literal["mode", "sample"], seed: int
    ) -> None:
        self._policy, self._version, self._mode = policy, version, mode
        self._rng = np.random.default_rng(seed)
        self._state = policy.initial()

    def act(self, obs: Mapping[str, Array], executed: FloatArray, is_first: bool) -> Choice:
        """Choose an action. executed: (A,), what led to obs."""
        action, self._state = self._policy.step(
            obs, executed, is_first, self._state, self._mode, self._rng
        )
        return Choice(action, self._version, POLICY)


def drive(
    config: Config,
    task: Task,
    robot: Robot,
    policy: NumpyPolicy,
    version: int,
    *,
    mode: Literal["mode", "sample"],
    index: int,
    on_step: Callable[[StepRecord], None],
) -> None:
    """Run episode `index` from the body's start pose; the body is at rest and closed afterwards.

    The same seed, policy and index give the same episode on a twin.
    """
    seed = config.seed + index
    interrupts.unwind()  # from here on, Ctrl-C must bring the body to rest
    robot.connect()
    if isinstance(robot, Twin):
        robot.reset(seed)
    taken, over = 0, False

    def seen(step: StepRecord) -> None:
        nonlocal taken, over
        taken += 1
        over = step.arrival.is_last or taken >= MAX_STEPS
        on_step(step)

    # A twin may take its time, for example to draw a picture.
    silence_s = stall_s(config, robot.spec.control_hz)
    watchdog = None if isinstance(robot, Twin) else Watchdog(silence_s, robot.stop)
    loop = ControlLoop(
        robot=robot,
        task=task,
        runner=FixedPolicy(policy, version, mode, seed),
        safety=Safety(config.actor.safety, robot.spec),
        recorder=_forgetful(task),
        clock=ControlClock(1 / robot.spec.control_hz, realtime=config.actor.realtime),
        report=seen,
        beat=(lambda: None) if watchdog is None else watchdog.beat,
    )
    with watchdog or contextlib.nullcontext():
        loop.run(lambda: over)


def _forgetful(task: Task) -> Recorder:
    """A recorder whose rows go nowhere: an evaluation teaches nothing."""
    return Recorder(
        make_schema(task.observations, task.action.size, task.log_keys),
        run="",
        actor="eval",
        session="eval",
        chunk_rows=64,
        chunk_age_s=10.0,
        send=lambda chunk: None,
    )
