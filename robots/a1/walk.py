"""The walking task of the A1: 16 or 17 numbers in, 12 joint targets out, no resets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np

from robots.a1.reward import WalkReward, normalise_joints, walk_reward
from robots.a1.spec import ACTION_HIGH_RAD, ACTION_LOW_RAD
from robots.base import ActionSpec, ArraySpec, Arrival, FloatArray, Reading, RobotError

_LOG_KEYS: Final = tuple(name for name in WalkReward._fields if name != "total")
_CENTER_RAD: Final = (ACTION_HIGH_RAD + ACTION_LOW_RAD) / 2
_HALF_RAD: Final = (ACTION_HIGH_RAD - ACTION_LOW_RAD) / 2


class A1Walk:
    """Roll over, stand up, walk forward. The episode is cut at its limit; the robot stays put."""

    def __init__(
        self,
        *,
        episode_steps: int,
        target_speed_m_s: float,
        orientation: Literal["angles", "up"] = "angles",
    ) -> None:
        """See A1WalkConfig."""
        self._sees_up = orientation == "up"
        self._observations = {"vector": ArraySpec((17 if self._sees_up else 16,))}
        self._episode_steps = episode_steps
        self._target_speed_m_s = target_speed_m_s
        self._step = 0

    @property
    def name(self) -> str:
        """As in configs/task."""
        return "a1_walk"

    @property
    def observations(self) -> Mapping[str, ArraySpec]:
        """{"vector": (16,)} = roll, pitch, roll rate, pitch rate (trunk frame), 12 joint angles.

        With orientation="up" (17,): the world's up in the trunk's frame in place of roll and pitch.
        """
        return self._observations

    @property
    def log_keys(self) -> tuple[str, ...]:
        """The reward's terms and the speed along the heading."""
        return _LOG_KEYS

    @property
    def action(self) -> ActionSpec:
        """12 joint targets, each in [-1, 1] over the joint's action range."""
        return ActionSpec("continuous", 12)

    def begin(self, reading: Reading) -> Arrival:
        """Start an episode at `reading`; reward is 0. Nothing waits, nothing moves."""
        self._step = 0
        arrival = self._arrival(reading, is_last=False)
        return Arrival(obs=arrival.obs, reward=0.0, log=arrival.log)

    def arrive(self, reading: Reading) -> Arrival:
        """One control step later. Never terminal: a fallen robot gets up by itself."""
        self._step += 1
        return self._arrival(reading, is_last=self._step >= self._episode_steps)

    def to_command(self, action: FloatArray) -> FloatArray:
        """(12,) in [-1, 1] (clipped) to joint targets in rad."""
        target_rad: FloatArray = (_CENTER_RAD + _HALF_RAD * np.clip(action, -1.0, 1.0)).astype(
            np.float32
        )
        return target_rad

    def from_command(self, sent: FloatArray) -> FloatArray:
        """Joint targets (12,) in rad to [-1, 1]; clipped, for the joints move beyond the range."""
        action: FloatArray = np.clip(normalise_joints(sent), -1.0, 1.0).astype(np.float32)
        return action

    def _arrival(self, reading: Reading, *, is_last: bool) -> Arrival:
        values = reading.values
        orientation = values["rotation"][2] if self._sees_up else values["rpy_rad"][:2]
        vector = np.concatenate(
            [orientation, values["gyro_rad_s"][:2], values["joint_position_rad"]], dtype=np.float32
        )
        if not np.isfinite(vector).all():
            raise RobotError(
                f"the A1 reads {vector.tolist()} (orientation, rates, 12 angles): not all finite. "
                "Check the IMU and the motor bus."
            )
        reward = walk_reward(
            joint_position_rad=values["joint_position_rad"],
            rotation=values["rotation"],
            base_velocity_m_s=values["base_velocity_m_s"],
            target_speed_m_s=self._target_speed_m_s,
        )
        log = {key: float(getattr(reward, key)) for key in _LOG_KEYS}
        return Arrival({"vector": vector}, float(reward.total), is_last=is_last, log=log)
