"""gymnasium adapters of our twins and tasks; importing this module registers them.

import sim.gym_env
env = gymnasium.make("daydreamer/A1Walk-v0", reset="start")
"""

from __future__ import annotations

from typing import Any, Final, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from robots.a1.config import A1WalkConfig
from robots.base import Arrival, FloatArray
from sim.a1.config import A1TwinConfig

Info = dict[str, Any]

# roll, pitch; their rates; 12 joint angles. Wide enough for falls and for hard stops that give way.
_BOUND: Final = np.array([6.3, 3.2] + [50.0] * 2 + [5.0] * 12, np.float32)


class A1WalkEnv(gymnasium.Env[FloatArray, FloatArray]):
    """The walking task on the A1 twin, cut (truncated) at the task's limit and never terminated.

    reset="keep": as on the robot, an episode begins where the one before was cut, and nothing
    moves. reset="start": each begins at the twin's start. A reset with a seed always does.
    Options not given are the dataclasses' own; configs/task/a1_walk.yaml also sets roll_seam_rad.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        *,
        reset: Literal["keep", "start"] = "keep",
        twin: A1TwinConfig | None = None,
        task: A1WalkConfig | None = None,
        render_mode: str | None = None,
    ) -> None:
        """The twin is connected at the first reset."""
        if reset not in ("keep", "start"):
            raise ValueError(f"reset={reset!r}: expected 'keep' or 'start'")
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"render_mode={render_mode!r}: expected None or 'rgb_array'")
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-_BOUND, _BOUND, dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (12,), dtype=np.float32)
        self._keep = reset == "keep"
        self._twin = (twin or A1TwinConfig()).build()
        self._task = (task or A1WalkConfig()).build()
        self._started = False

    def reset(
        self, *, seed: int | None = None, options: Info | None = None
    ) -> tuple[FloatArray, Info]:
        """Begin an episode; with `seed`, at the twin's start."""
        super().reset(seed=seed, options=options)
        self._twin.connect()
        if seed is not None or (self._started and not self._keep):
            self._twin.reset(seed)
        self._started = True
        arrival = self._task.begin(self._twin.read())
        return _vector(arrival), dict(arrival.log)

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, Info]:
        """One control period, 50 ms. `info` has the reward's terms and the executed action."""
        sent = self._twin.command(self._task.to_command(action))
        arrival = self._task.arrive(self._twin.read())
        info: Info = {**arrival.log, "action": self._task.from_command(sent)}
        return _vector(arrival), arrival.reward, arrival.is_terminal, arrival.is_last, info

    def render(self) -> NDArray[np.uint8] | None:
        """(240, 320, 3) picture; None unless render_mode is rgb_array."""
        return self._twin.render() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Free the twin. Any number of times."""
        self._twin.close()
        self._started = False


def _vector(arrival: Arrival) -> FloatArray:
    vector: FloatArray = np.clip(arrival.obs["vector"], -_BOUND, _BOUND).astype(np.float32)
    return vector


gymnasium.register(id="daydreamer/A1Walk-v0", entry_point="sim.gym_env:A1WalkEnv")
