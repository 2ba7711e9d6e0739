"""The control loop: read, think, check, command, one step every control period.

Nothing in here waits for disk, network or weights: rows go to the recorder, figures to the report,
new policies appear in the runner.

    # row     first          next           next
    # obs     o0 --- act --> o1 --- act --> o2
    # time    |  command, wait one period  |  command, wait one period  |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from daydreamer.actor.clock import ControlClock
from daydreamer.actor.policy_runner import Choice
from daydreamer.actor.recorder import Recorder
from daydreamer.wire.rows import Array
from robots.base import Arrival, EpisodicBody, FloatArray, Reading, Robot, RobotError, Task
from robots.safety import SafetyVerdict

log = logging.getLogger(__name__)


class Runner(Protocol):
    """Chooses actions; see policy_runner.PolicyRunner."""

    @property
    def must_rest(self) -> bool:
        """Whether to bring the robot to rest until this is False again."""

    @property
    def age_s(self) -> float:
        """Of the policy in use."""

    def act(self, obs: Mapping[str, Array], executed: FloatArray, is_first: bool) -> Choice:
        """The next action."""


class SafetyLayer(Protocol):
    """Limits commands; see robots.safety.Safety."""

    def check(self, reading: Reading, command: FloatArray, now_s: float) -> SafetyVerdict:
        """The command to send instead, or stop."""

    def restart(self) -> None:
        """The body has rested."""


class StepRecord(NamedTuple):
    """What the report hears of one control step."""

    arrival: Arrival
    dt_s: float
    choice: Choice
    policy_age_s: float
    begins: bool = False  # the first step of its episode


@dataclass
class ControlLoop:
    """One robot, one task. Build it with collaborators, then run() it once."""

    robot: Robot
    task: Task
    runner: Runner
    safety: SafetyLayer
    recorder: Recorder
    clock: ControlClock
    report: Callable[[StepRecord], None]
    beat: Callable[[], None]  # tells the watchdog that the loop is alive
    stalls: Callable[[], int] = lambda: 0  # how often the watchdog has stopped the robot
    steps: int = 0

    def run(
        self, stop: Callable[[], bool], between_steps: Callable[[], None] = lambda: None
    ) -> None:
        """Drive the robot until stop() is true. Whatever happens, the robot comes to rest."""
        try:
            self.robot.connect()
            while not stop():
                why = self._drive(stop, between_steps)
                if not stop():
                    self._rest(stop, why)
        finally:
            try:
                self.robot.stop()
            finally:
                self.recorder.interrupt()
                self.robot.close()

    def _drive(self, stop: Callable[[], bool], between_steps: Callable[[], None]) -> str:
        """Step from a standstill until stop() is true or the robot has to rest: returns why."""
        stalls, stalled = self.stalls(), "the control loop stalled and the watchdog stopped it"
        reading, arrival = self._begin()
        self.safety.restart()
        executed, is_first = self._no_action(), True
        self.clock.start()
        while not (stop() or self.runner.must_rest):
            begins = is_first
            choice = self.runner.act(arrival.obs, executed, is_first)
            age_s = self.runner.age_s
            self.clock.lap("policy")
            wanted = self.task.to_command(choice.action)
            self.clock.lap("task")
            verdict = self.safety.check(reading, wanted, reading.time_s)
            self.clock.lap("safety")
            if verdict.stop:
                self._emergency_stop(verdict)
            if self.stalls() != stalls:
                return stalled
            sent = self.robot.command(verdict.command)
            self.clock.lap("command")
            self.clock.wait()
            self.beat()

            before_s, reading = reading.time_s, self.robot.read()
            self.clock.lap("read")
            if self.stalls() != stalls:
                return stalled  # what was read is not what the command alone led to: no row
            arrival = self.task.arrive(reading)
            executed, is_first = self.task.from_command(sent), False
            self.clock.lap("task")
            self.recorder.add(arrival, reading.time_s, executed, choice.version, choice.who)
            self.report(StepRecord(arrival, reading.time_s - before_s, choice, age_s, begins))
            self.steps += 1
            if arrival.is_last:
                reading, arrival = self._begin(reading)
                executed, is_first = self._no_action(), True
            self.clock.lap("record")
            between_steps()
        return "the policy is too old"

    def _begin(self, reading: Reading | None = None) -> tuple[Reading, Arrival]:
        """A robot's next episode begins where the last one was cut, at `reading`: nobody lifts it.

        Worlds that begin anew do so here.
        """
        if isinstance(self.robot, EpisodicBody):
            self.robot.begin_episode()
            self.safety.restart()
            reading = None
        if reading is None:
            reading = self.robot.read()
        arrival = self.task.begin(reading)
        self.recorder.begin(arrival, reading.time_s)
        return reading, arrival

    def _rest(self, stop: Callable[[], bool], why: str) -> None:
        """Stand still until the runner is ready again; the next row begins an episode."""
        log.warning("%s: the robot rests, then begins an episode from there", why)
        self.robot.stop()
        self.recorder.interrupt()
        while self.runner.must_rest and not stop():
            self.clock.pause()
            self.beat()

    def _emergency_stop(self, verdict: SafetyVerdict) -> None:
        self.robot.stop()
        reasons = "; ".join(event.message for event in verdict.events if event.action == "stop")
        raise RobotError(
            f"the safety layer stopped the robot: {reasons}. "
            "Find the cause, then start again with the same run: it goes on where it ended."
        )

    def _no_action(self) -> FloatArray:
        return np.zeros(self.task.action.size, np.float32)
