"""gymnasium registrations of our twins and tasks; importing this module registers them.

import sim.gym_env
env = gymnasium.make("daydreamer/A1Walk-v0", reset="start")
"""

from __future__ import annotations

from typing import Any, Final, Literal

import gymnasium
import numpy as np

from robots.a1.config import A1WalkConfig
from robots.a1.rate import CONTROL_HZ
from sim.a1.config import A1TwinConfig
from sim.task_env import TaskEnv

# roll, pitch; their rates; 12 joint angles. Wide enough for falls and for hard stops that give way.
_BOUND: Final = np.array([6.3, 3.2] + [50.0] * 2 + [5.0] * 12, np.float32)


class A1WalkEnv(TaskEnv):
    """The walking task on the A1 twin, cut (truncated) at the task's limit and never terminated.

    Options not given are the dataclasses' own; configs/task/a1_walk.yaml also sets roll_seam_rad.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": round(CONTROL_HZ),
    }

    def __init__(
        self,
        *,
        reset: Literal["keep", "start"] = "keep",
        twin: A1TwinConfig | None = None,
        task: A1WalkConfig | None = None,
        render_mode: str | None = None,
    ) -> None:
        """The twin is connected at the first reset."""
        super().__init__(
            (task or A1WalkConfig()).build(),
            (twin or A1TwinConfig()).build(),
            reset=reset,
            bound=_BOUND,
            render_mode=render_mode,
        )


gymnasium.register(id="daydreamer/A1Walk-v0", entry_point="sim.gym_env:A1WalkEnv")
