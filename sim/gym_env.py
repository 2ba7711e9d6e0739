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

# Of orientation; its rates; 12 joint angles. Wide enough for falls and for stops that give way.
_ORIENTATION: Final = {"angles": [3.2, 3.2], "up": [1.0] * 3}
_REST: Final = [50.0] * 2 + [5.0] * 12


class A1WalkEnv(TaskEnv):
    """The walking task on the A1 twin, cut (truncated) at the task's limit and never terminated.

    Options not given are the dataclasses' own; configs/task/a1_walk.yaml has orientation=up.
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
        task = task or A1WalkConfig()
        super().__init__(
            task.build(),
            (twin or A1TwinConfig()).build(),
            reset=reset,
            bound=np.array(_ORIENTATION[task.orientation] + _REST, np.float32),
            render_mode=render_mode,
        )


gymnasium.register(id="daydreamer/A1Walk-v0", entry_point="sim.gym_env:A1WalkEnv")
