"""Shoves on a schedule: when, how hard and in which direction."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sim.a1.config import PushConfig


class PushState(NamedTuple):
    """Where the schedule stands; steps are physics steps."""

    until_next: int
    left: int  # of the push that is going on
    force_n: tuple[float, float, float]


class PushSchedule:
    """Counts physics steps and says how many of the next ones push, and with what force."""

    def __init__(self, cfg: PushConfig, physics_step_s: float) -> None:
        """Disabled: never draws a random number."""
        self._cfg = cfg
        self._period = max(1, round(cfg.period_s / physics_step_s))
        self._duration = max(1, round(cfg.duration_s / physics_step_s))
        self._step_s = physics_step_s
        self.state = PushState(self._period, 0, (0.0, 0.0, 0.0))

    def restart(self) -> None:
        """The first push comes one period from now."""
        self.state = PushState(self._period, 0, (0.0, 0.0, 0.0))

    def split(
        self, steps: int, rng: np.random.Generator
    ) -> list[tuple[int, tuple[float, float, float] | None]]:
        """Cut the next `steps` physics steps into runs of (length, force in N or None)."""
        if not self._cfg.enabled:
            return [(steps, None)]
        runs: list[tuple[int, tuple[float, float, float] | None]] = []
        until_next, left, force_n = self.state
        while steps > 0:
            if until_next == 0:
                until_next, left, force_n = self._period, self._duration, self._draw(rng)
            run = min(steps, until_next, left or steps)
            runs.append((run, force_n if left else None))
            steps, until_next, left = steps - run, until_next - run, max(left - run, 0)
        self.state = PushState(until_next, left, force_n)
        return runs

    def _draw(self, rng: np.random.Generator) -> tuple[float, float, float]:
        impulse_ns = rng.uniform(self._cfg.impulse_low_ns, self._cfg.impulse_high_ns)
        angle_rad = rng.uniform(-math.pi, math.pi)
        size_n = impulse_ns / (self._duration * self._step_s)
        return size_n * math.cos(angle_rad), size_n * math.sin(angle_rad), 0.0
