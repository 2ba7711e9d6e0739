"""Any task on any body as a gymnasium environment, for baselines that know no other interface."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robots.base import Arrival, EpisodicBody, FloatArray, Robot, RobotError, Task

Info = dict[str, Any]


class Twin(Robot, Protocol):
    """A body that can be put back to its start, and drawn."""

    def reset(self, seed: int | None = None) -> None:
        """Back to the start; `seed` starts the random numbers anew."""

    def render(self, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
        """(height, width, 3) picture."""


class TaskEnv(gymnasium.Env[FloatArray, Any]):
    """Observations are the task's vectors, one behind the other; actions as a policy chooses them.

    reset="keep": as on a robot, an episode begins where the one before was cut, and nothing moves.
    reset="start": each begins at the body's start. A reset with a seed always does, and bodies
    whose world begins anew by itself (robots.base.EpisodicBody) have no other way.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(
        self,
        task: Task,
        robot: Twin,
        *,
        reset: Literal["keep", "start"] = "start",
        bound: FloatArray | None = None,
        render_mode: str | None = None,
    ) -> None:
        """The body is connected at the first reset. bound: observations are clipped to +-bound."""
        if reset not in ("keep", "start"):
            raise ValueError(f"reset={reset!r}: expected 'keep' or 'start'")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}: expected None or 'rgb_array'")
        if images := [key for key, spec in task.observations.items() if spec.is_image]:
            raise RobotError(f"{task.name} observes images ({', '.join(images)}): expected vectors")
        self.render_mode = render_mode
        self._task, self._robot, self._keep = task, robot, reset == "keep"
        size = sum(int(np.prod(spec.shape)) for spec in task.observations.values())
        self._bound = np.full(size, np.inf, np.float32) if bound is None else bound
        self.observation_space = spaces.Box(-self._bound, self._bound, dtype=np.float32)
        self._discrete = task.action.kind == "discrete"
        self.action_space = (
            spaces.Discrete(task.action.size)
            if self._discrete
            else spaces.Box(-1.0, 1.0, (task.action.size,), dtype=np.float32)
        )
        self._started = False

    @property
    def control_hz(self) -> float:
        """Steps in a second of the body's time."""
        return self._robot.spec.control_hz

    def reset(
        self, *, seed: int | None = None, options: Info | None = None
    ) -> tuple[FloatArray, Info]:
        """Begin an episode; with `seed`, at the body's start."""
        super().reset(seed=seed, options=options)
        self._robot.connect()
        if seed is not None or (self._started and not self._keep):
            self._robot.reset(seed)
        elif isinstance(self._robot, EpisodicBody):
            self._robot.begin_episode()
        self._started = True
        arrival = self._task.begin(self._robot.read())
        return self._vector(arrival), dict(arrival.log)

    def step(self, action: Any) -> tuple[FloatArray, float, bool, bool, Info]:
        """One control period. `info` has the task's figures and the executed action.

        An end that is terminal is no truncation, and any other end is.
        """
        wanted = (
            np.eye(self._task.action.size, dtype=np.float32)[action] if self._discrete else action
        )
        sent = self._robot.command(self._task.to_command(wanted))
        arrival = self._task.arrive(self._robot.read())
        info: Info = {**arrival.log, "action": self._task.from_command(sent)}
        truncated = arrival.is_last and not arrival.is_terminal
        return self._vector(arrival), arrival.reward, arrival.is_terminal, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """(240, 320, 3) picture; None unless render_mode is rgb_array."""
        return self._robot.render() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the body. Any number of times."""
        self._robot.close()
        self._started = False

    def _vector(self, arrival: Arrival) -> FloatArray:
        parts = [np.ravel(arrival.obs[key]) for key in self._task.observations]
        vector: FloatArray = np.clip(np.concatenate(parts), -self._bound, self._bound)
        return vector.astype(np.float32)
