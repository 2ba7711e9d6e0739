"""The A1's joints, limits and action range: one table for hardware, twin and task."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from robots.a1.rate import CONTROL_HZ
from robots.base import ArraySpec, CommandSpec, RobotSpec

LEGS: Final = ("FR", "FL", "RR", "RL")  # front right, front left, rear right, rear left
PARTS: Final = ("hip", "upper", "lower")
JOINTS: Final = tuple(f"{leg}_{part}" for leg in LEGS for part in PARTS)

TORQUE_LIMIT_NM: Final = 33.5

# Hard stops of one leg: hip, upper, lower.
_LOW = np.array([-0.802851455917, -1.0471975512, -2.69653369433])
_HIGH = np.array([0.802851455917, 4.18879020479, -0.916297857297])
JOINT_LOW_RAD: Final[NDArray[np.float64]] = np.tile(_LOW, 4)
JOINT_HIGH_RAD: Final[NDArray[np.float64]] = np.tile(_HIGH, 4)

# The part of each joint's range that a policy may ask for, as DayDreamer released it. The knee
# stops at 60 %: beyond that the legs are so straight that the robot stands on stilts.
_FROM = np.array([0.01, 0.01, 0.01])
_TO = np.array([0.99, 0.90, 0.60])
ACTION_LOW_RAD: Final[NDArray[np.float64]] = np.tile(_LOW + _FROM * (_HIGH - _LOW), 4)
ACTION_HIGH_RAD: Final[NDArray[np.float64]] = np.tile(_LOW + _TO * (_HIGH - _LOW), 4)

STANDING_RAD: Final[NDArray[np.float64]] = np.tile(np.array([0.0, 0.9, -1.8]), 4)
FOLDED_RAD: Final[NDArray[np.float64]] = np.tile(np.array([0.0, 1.335, -2.6]), 4)

READINGS: Final = {
    "joint_position_rad": ArraySpec((12,), unit="rad"),
    "joint_velocity_rad_s": ArraySpec((12,), unit="rad/s"),
    "joint_torque_nm": ArraySpec((12,), unit="Nm"),
    "rpy_rad": ArraySpec((3,), unit="rad", low=-3.2, high=3.2),
    "gyro_rad_s": ArraySpec((3,), unit="rad/s"),  # in the trunk's frame
    "base_velocity_m_s": ArraySpec((3,), unit="m/s"),  # of the trunk's origin, in the world's frame
    "rotation": ArraySpec((3, 3), low=-1.01, high=1.01),  # world from trunk
    "foot_contact": ArraySpec((4,), dtype="bool"),
}


def a1_spec(name: str) -> RobotSpec:
    """What every A1 offers, be it hardware or twin; `name` tells them apart."""
    return RobotSpec(
        name=name,
        readings=READINGS,
        command=CommandSpec(
            names=JOINTS,
            unit="rad",
            low=tuple(JOINT_LOW_RAD.tolist()),
            high=tuple(JOINT_HIGH_RAD.tolist()),
        ),
        control_hz=CONTROL_HZ,
    )
