"""What the safety layer checks, and what it does about it: off, warn, clip or stop per rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

Mode = Literal["off", "warn", "clip", "stop"]
MODES: Final = get_args(Mode)
RULES = (
    "reading_finite",
    "stale_sensor",
    "joint_position",
    "joint_velocity",
    "joint_torque",
    "temperature",
    "tilt",
    "workspace",
    "command_finite",
    "command_limits",
    "soft_start",
    "command_rate",
)


@dataclass
class SafetyConfig:
    """Each rule's mode, and its bound. Errors name the field: where it stands, the caller knows.

    warn: count and report. clip: a command rule sends the nearest command that it allows; a rule
    about readings repeats the last command instead of the new one. stop: the body comes to rest.
    """

    reading_finite: Mode = "stop"  # NaN or infinity from a sensor
    stale_sensor: Mode = "stop"  # a reading too old, or one stamp again and again
    max_age_s: float = 0.2  # of a sensor's stamp, on the body's clock
    max_repeats: int = 3  # checks that one stamp may serve before it counts as frozen
    joint_position: Mode = "warn"  # measured angles beyond the limits
    joint_margin_rad: float = 0.3  # beyond the command's limits; hard stops give way by 0.2
    joint_velocity: Mode = "warn"  # measured
    joint_velocity_limit_rad_s: float = 25.0
    joint_torque: Mode = "warn"  # measured
    joint_torque_limit_nm: float = 35.0
    temperature: Mode = "stop"  # of a motor
    temperature_warn_c: float = 50.0  # warns from here on, whatever the mode
    temperature_limit_c: float = 60.0
    tilt: Mode = "off"  # a robot that learns to roll over must be allowed to lie on its back
    tilt_limit_rad: float = 0.8
    workspace: Mode = "off"  # where an arm's tool may be
    workspace_low_m: list[float] = field(default_factory=lambda: [-1.0, -1.0, 0.0])
    workspace_high_m: list[float] = field(default_factory=lambda: [1.0, 1.0, 1.0])
    command_finite: Mode = "stop"  # NaN or infinity from the policy
    command_limits: Mode = "clip"  # the body's own limits
    soft_start: Literal["off", "clip"] = "off"  # ease the first commands in
    soft_start_s: float = 2.0  # commands are blended in from the measured pose over this time
    command_rate: Mode = "off"  # how fast a command may change
    command_rate_limit: float = 10.0  # in the command's unit per second

    def __post_init__(self) -> None:
        for rule in RULES:
            if getattr(self, rule) not in MODES:
                raise ValueError(
                    f"{rule}={getattr(self, rule)!r}: expected one of {', '.join(MODES)}"
                )
        if self.soft_start not in ("off", "clip"):
            raise ValueError(f"soft_start={self.soft_start!r}: expected off or clip")
        positive: tuple[str, ...] = (
            "max_age_s",
            "max_repeats",
            "joint_velocity_limit_rad_s",
            "soft_start_s",
        )
        positive += ("joint_torque_limit_nm", "tilt_limit_rad", "command_rate_limit")
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: expected more than 0")
        if not self.joint_margin_rad >= 0:
            raise ValueError(f"joint_margin_rad={self.joint_margin_rad}: expected at least 0")
        low, high = self.workspace_low_m, self.workspace_high_m
        if len(low) != 3 or len(high) != 3 or any(a >= b for a, b in zip(low, high, strict=True)):
            raise ValueError(
                f"workspace_low_m={low}, workspace_high_m={high}: "
                "expected x, y, z each, low below high"
            )
        if not self.temperature_warn_c <= self.temperature_limit_c:
            raise ValueError(
                f"temperature_warn_c={self.temperature_warn_c}: "
                f"expected at most temperature_limit_c={self.temperature_limit_c}"
            )
