"""A task whose reward and flags come with the readings: the environment has worked them out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robots.base import ActionSpec, Array, ArraySpec, Arrival, FloatArray, Reading
from sim.envs.core import Layout


class EnvTask:
    """Passes on what an environment shows and pays."""

    def __init__(self, name: str, layout: Layout, episode_steps: int) -> None:
        """episode_steps: cut after so many control steps; 0: the environment's own limit."""
        self._name, self._layout, self._episode_steps = name, layout, episode_steps
        self._low = np.array(layout.command.low, np.float32)
        self._half = (np.array(layout.command.high, np.float32) - self._low) / 2
        self._step = 0

    @property
    def name(self) -> str:
        """As in configs/task."""
        return self._name

    @property
    def observations(self) -> Mapping[str, ArraySpec]:
        """Model inputs."""
        return self._layout.observations

    @property
    def log_keys(self) -> tuple[str, ...]:
        """Figures of the environment."""
        return tuple(self._layout.log)

    @property
    def action(self) -> ActionSpec:
        """What the policy chooses."""
        return self._layout.action

    def begin(self, reading: Reading) -> Arrival:
        """Start an episode at `reading`; reward is 0."""
        self._step = 0
        return Arrival(self._obs(reading), 0.0, log=self._log(reading))

    def arrive(self, reading: Reading) -> Arrival:
        """One control step later. A time-out is last and not terminal."""
        self._step += 1
        values = reading.values
        timed_out = 0 < self._episode_steps <= self._step
        return Arrival(
            self._obs(reading),
            float(values["reward"]),
            is_last=bool(values["is_last"]) or timed_out,
            is_terminal=bool(values["is_terminal"]),
            log=self._log(reading),
        )

    def to_command(self, action: FloatArray) -> FloatArray:
        """(A,) in [-1, 1] (clipped) to the environment's range, or one-hot (A,) to its index."""
        if self._layout.action.kind == "discrete":
            return np.array([np.argmax(action)], np.float32)
        return (self._low + self._half * (1 + np.clip(action, -1, 1))).astype(np.float32)

    def from_command(self, sent: FloatArray) -> FloatArray:
        """Back to (A,), normalised or one-hot."""
        if self._layout.action.kind == "discrete":
            one_hot = np.zeros(self._layout.action.size, np.float32)
            one_hot[round(float(sent[0]))] = 1
            return one_hot
        return np.clip((sent - self._low) / self._half - 1, -1, 1).astype(np.float32)

    def _obs(self, reading: Reading) -> dict[str, Array]:
        return {key: reading.values[key] for key in self._layout.observations}

    def _log(self, reading: Reading) -> dict[str, float]:
        return {key: float(reading.values[key]) for key in self._layout.log}
