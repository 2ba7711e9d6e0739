"""Absolute time for the control loop: paces it, counts late steps, names the stage at fault."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

# Late by less than this share of a period is jitter: the command still goes out in its own period.
TOLERANCE = 0.1


class ControlClock:
    """Paces the loop at one step a period when realtime, else lets it run as fast as it can.

        start() [stage lap()] [stage lap()] ... wait() [stage lap()] ... wait()

    Steps are due at multiples of the period, so small delays do not add up. After a late step the
    lost time is dropped: catching up would rush the robot.
    """

    def __init__(
        self,
        period_s: float,
        *,
        realtime: bool,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.period_s = period_s
        self.steps = 0
        self.late_steps = 0
        self.late_by_stage: Counter[str] = Counter()
        self.last_late_s = 0.0
        self._realtime = realtime
        self._now = now
        self._sleep = sleep
        self._stages: dict[str, float] = {}
        self._lap_s = self._due_s = now()

    def start(self) -> None:
        """The first step begins now; also after a pause of any length."""
        self._lap_s = self._due_s = self._now()
        self._stages.clear()

    def lap(self, stage: str) -> None:
        """The time since the last lap went into `stage`."""
        time_s = self._now()
        self._stages[stage] = self._stages.get(stage, 0.0) + time_s - self._lap_s
        self._lap_s = time_s

    def wait(self) -> None:
        """Sleep until the next step is due."""
        self.steps += 1
        if self._realtime:
            self._due_s += self.period_s
            early_s = self._due_s - self._now()
            if early_s > 0:
                self._sleep(early_s)
            self.last_late_s = self._now() - self._due_s
            if self.last_late_s > TOLERANCE * self.period_s:
                self._count_late(
                    "wait" if early_s > 0 else max(self._stages, key=self._stages.__getitem__)
                )
        self._stages.clear()
        self._lap_s = self._now()

    def pause(self) -> None:
        """Let one period pass outside the count of steps; begin anew with start()."""
        self._sleep(self.period_s)

    def _count_late(self, stage: str) -> None:
        self.late_steps += 1
        self.late_by_stage[stage] += 1
        self._due_s = self._now()
