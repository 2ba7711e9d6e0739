"""Options of the A1's tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from robots.a1.walk import A1Walk


@dataclass
class A1WalkConfig:
    """Options of the walking task; the defaults are DayDreamer's."""

    episode_steps: int = 250  # 12.5 s at 20 Hz; the robot is not reset
    target_speed_m_s: float = 0.3  # full pay from here on
    # Where roll jumps by a turn. The released seam, pi, is just where a robot lies on its back:
    # roll then flips between -pi and pi at every twitch. 4.71 (3/2 pi): on its right side.
    roll_seam_rad: float = math.pi

    def __post_init__(self) -> None:
        if self.episode_steps < 1:
            raise ValueError(f"episode_steps={self.episode_steps}: at least 1 expected, e.g. 250")
        if not 0 < self.target_speed_m_s <= 5:
            raise ValueError(
                f"target_speed_m_s={self.target_speed_m_s}: a speed in (0, 5] expected, e.g. 0.3"
            )
        if not math.pi <= self.roll_seam_rad <= 2 * math.pi:
            raise ValueError(
                f"roll_seam_rad={self.roll_seam_rad}: expected within [pi, 2 pi], e.g. 4.71"
            )

    def build(self) -> A1Walk:
        """The task with these options."""
        from robots.a1.walk import A1Walk

        return A1Walk(
            episode_steps=self.episode_steps,
            target_speed_m_s=self.target_speed_m_s,
            roll_seam_rad=self.roll_seam_rad,
        )
