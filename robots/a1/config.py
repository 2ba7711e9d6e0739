"""Options of the A1's tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from robots.a1.walk import A1Walk


@dataclass
class A1WalkConfig:
    """Options of the walking task; the defaults are DayDreamer's."""

    episode_steps: int = 250  # 12.5 s at 20 Hz; the robot is not reset
    target_speed_m_s: float = 0.3  # full pay from here on
    # How the trunk's orientation is seen. angles: roll and pitch, as released; roll jumps by a turn
    # just where a robot lies on its back. up: the world's up in the trunk's frame, without a jump.
    orientation: Literal["angles", "up"] = "angles"

    def __post_init__(self) -> None:
        if self.episode_steps < 1:
            raise ValueError(f"episode_steps={self.episode_steps}: at least 1 expected, e.g. 250")
        if not 0 < self.target_speed_m_s <= 5:
            raise ValueError(
                f"target_speed_m_s={self.target_speed_m_s}: a speed in (0, 5] expected, e.g. 0.3"
            )
        if self.orientation not in ("angles", "up"):
            raise ValueError(f"orientation={self.orientation}: expected angles or up")

    def build(self) -> A1Walk:
        """The task with these options."""
        from robots.a1.walk import A1Walk

        return A1Walk(
            episode_steps=self.episode_steps,
            target_speed_m_s=self.target_speed_m_s,
            orientation=self.orientation,
        )
