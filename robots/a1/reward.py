"""DayDreamer's walking reward as released: a curriculum of five terms, as a pure function."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robots.a1.spec import ACTION_HIGH_RAD, ACTION_LOW_RAD

Float64Array = NDArray[np.float64]

# Stand, in normalised joint angles of one leg: hip, upper (shoulder), lower (knee).
STAND: Final = np.array([0.0, -0.2, 1.0])
_REACH = 1.0 + np.abs(STAND)  # the farthest that a normalised angle can be from STAND
_UNLOCK = 0.7  # each term is paid only once the one before exceeds this
_STILL_M_S = 1e-6


class WalkReward(NamedTuple):
    """The terms, each (...,) in [0, 1], and their total in [5, 14]."""

    total: Float64Array
    upright: Float64Array
    hip: Float64Array
    shoulder: Float64Array
    knee: Float64Array
    velocity: Float64Array
    forward_speed_m_s: Float64Array  # along the heading; not a term


def walk_reward(
    *,
    joint_position_rad: NDArray[Any],
    rotation: NDArray[Any],
    base_velocity_m_s: NDArray[Any],
    target_speed_m_s: float = 0.3,
) -> WalkReward:
    """Reward of arriving in a state. Leading dims are free.

    joint_position_rad: (..., 12). rotation: (..., 3, 3) world from trunk. base_velocity_m_s:
    (..., 3) in the world's frame. On its back 5, standing still in pose 9, walking 14.
    """
    normalised = np.clip(normalise_joints(joint_position_rad), -1.0, 1.0)
    legs = normalised.reshape(*normalised.shape[:-1], 4, 3)
    fit = 1.0 - np.minimum(np.abs(legs - STAND) / _REACH, 1.0).mean(-2)  # (..., 3)

    up = np.asarray(rotation[..., 2, 2], np.float64)
    upright = 0.5 * up + 0.5
    hip = np.where(upright > _UNLOCK, fit[..., 0], 0.0)
    shoulder = np.where(hip > _UNLOCK, fit[..., 1], 0.0)
    knee = np.where(shoulder > _UNLOCK, fit[..., 2], 0.0)

    # The heading is not renormalised: a pitched trunk earns less, as on the original.
    velocity_m_s = np.asarray(base_velocity_m_s, np.float64)
    forward = (velocity_m_s[..., :2] * rotation[..., :2, 0]).sum(-1)
    speed = np.sqrt((velocity_m_s**2).sum(-1))
    # The original divides by the speed as it is: NaN for a robot that lies perfectly still.
    straight = np.maximum(forward, 0.0) / np.maximum(speed, _STILL_M_S)
    paid = straight * np.clip(forward / target_speed_m_s, -1.0, 1.0)
    velocity = np.where(knee > _UNLOCK, paid, 0.0)

    total = upright + hip + shoulder + knee + 5.0 * (velocity + 1.0)
    return WalkReward(total, upright, hip, shoulder, knee, velocity, forward)


def normalise_joints(joint_position_rad: NDArray[Any]) -> Float64Array:
    """Joint angles (..., 12) in rad to the action's scale, where its range is [-1, 1]."""
    span = ACTION_HIGH_RAD - ACTION_LOW_RAD
    scaled: Float64Array = 2.0 * (joint_position_rad - ACTION_LOW_RAD) / span - 1.0
    return scaled
