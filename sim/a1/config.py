"""Options of the A1 twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from robots.a1.rate import CONTROL_HZ

if TYPE_CHECKING:
    from sim.a1.twin import A1Twin

STARTS = ("back", "standing", "fall", "mixed")


@dataclass
class PushConfig:
    """Shoves at the trunk on a schedule: horizontal, in a random direction."""

    enabled: bool = False
    period_s: float = 10.0  # from the start of one push to the start of the next
    impulse_low_ns: float = 3.0
    impulse_high_ns: float = 15.0  # 20 Ns sideways tips a standing robot over
    duration_s: float = 0.15

    def __post_init__(self) -> None:
        if not 0 < self.duration_s <= self.period_s:
            raise ValueError(
                f"push.duration_s={self.duration_s}: expected within (0, period_s={self.period_s}]"
            )
        if not 0 <= self.impulse_low_ns <= self.impulse_high_ns <= 100:
            raise ValueError(
                f"push impulses {self.impulse_low_ns} .. {self.impulse_high_ns} Ns: "
                "expected 0 <= low <= high <= 100"
            )


@dataclass
class A1TwinConfig:
    """The robot's own gains and the released ±0.2 rad clip; nothing is randomised by default."""

    start: str = "back"  # back | standing | fall | mixed (one of the three, drawn at each reset)
    seed: int = 0
    kp_nm_rad: float = 80.0
    kd_hip_nm_s_rad: float = 1.0
    kd_leg_nm_s_rad: float = 2.0
    clip_rad: float = 0.2  # targets stay this close to the measured angle; 0: no clip
    torque_limit_nm: float = 33.5
    filter_hz: float = 1.5  # low-pass on the targets; 0: none
    physics_step_s: float = 0.002
    solver_iterations: int = 10
    foot_friction: float = 0.6  # Bullet multiplies it by the floor's
    body_friction: float = 0.5
    floor_friction: float = 1.0
    push: PushConfig = field(default_factory=PushConfig)

    def __post_init__(self) -> None:
        if self.start not in STARTS:
            raise ValueError(f"start={self.start!r}: expected one of {', '.join(STARTS)}")
        substeps = 1 / (CONTROL_HZ * self.physics_step_s) if self.physics_step_s > 0 else 0.0
        if not 0 < self.physics_step_s <= 0.0025 or abs(substeps - round(substeps)) > 1e-6:
            raise ValueError(
                f"physics_step_s={self.physics_step_s}: expected at most 0.0025 (the joint control "
                f"gets unstable beyond) and a whole part of {1 / CONTROL_HZ} s, e.g. 0.002"
            )
        if not 0 <= self.filter_hz < CONTROL_HZ / 2:
            raise ValueError(
                f"filter_hz={self.filter_hz}: expected below {CONTROL_HZ / 2:g}, or 0 for none"
            )
        for name in ("kp_nm_rad", "kd_hip_nm_s_rad", "kd_leg_nm_s_rad", "clip_rad"):
            if not 0 <= getattr(self, name) <= 1000:
                raise ValueError(f"{name}={getattr(self, name)}: expected within [0, 1000]")
        if self.torque_limit_nm <= 0 or self.solver_iterations < 1 or self.seed < 0:
            raise ValueError(
                f"torque_limit_nm={self.torque_limit_nm}, "
                f"solver_iterations={self.solver_iterations}, "
                f"seed={self.seed}: expected > 0, >= 1, >= 0"
            )

    def build(self) -> A1Twin:
        """The twin with these options. PyBullet is needed from connect() on, not before."""
        from sim.a1.twin import A1Twin

        return A1Twin(self)
