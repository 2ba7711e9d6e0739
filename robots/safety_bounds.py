"""Rules of the safety layer about what a body measures: a value, its bounds, what to do outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robots.base import RobotSpec
from robots.safety_config import SafetyConfig

Values = NDArray[Any]


@dataclass(frozen=True)
class Bound:
    """`measure` of reading `key` must lie within [low, high], element by element."""

    rule: str
    mode: str
    key: str
    low: Values | float
    high: Values | float
    unit: str
    measure: Callable[[Values], Values] = np.asarray

    def broken(self, values: Mapping[str, Values]) -> str | None:
        """What is wrong; None when nothing is. Not finite is the business of another rule."""
        found = self.measure(values[self.key])
        outside = (found < self.low) | (found > self.high)
        if not outside.any():
            return None
        where = np.flatnonzero(outside).tolist()
        worst = np.atleast_1d(found)[where].tolist()
        low = np.broadcast_to(self.low, outside.shape)[outside].tolist()
        high = np.broadcast_to(self.high, outside.shape)[outside].tolist()
        ranges = (
            f"{value:.3g} (expected {a:.3g} .. {b:.3g})"
            for value, a, b in zip(worst, low, high, strict=True)
        )
        return f"{self.key}{where} is {', '.join(ranges)} {self.unit}"


def make_bounds(cfg: SafetyConfig, spec: RobotSpec) -> tuple[list[Bound], list[str]]:
    """The bounds that are switched on and have their reading, and the names of the inert ones."""
    low = np.array(spec.command.low) - cfg.joint_margin_rad
    high = np.array(spec.command.high) + cfg.joint_margin_rad
    speed, torque = cfg.joint_velocity_limit_rad_s, cfg.joint_torque_limit_nm
    warm = "warn" if cfg.temperature != "off" else "off"
    wanted = [
        Bound("joint_position", cfg.joint_position, "joint_position_rad", low, high, "rad"),
        Bound("joint_velocity", cfg.joint_velocity, "joint_velocity_rad_s", -speed, speed, "rad/s"),
        Bound("joint_torque", cfg.joint_torque, "joint_torque_nm", -torque, torque, "Nm"),
        Bound("temperature", warm, "motor_temperature_c", -50.0, cfg.temperature_warn_c, "C"),
        Bound(
            "temperature",
            cfg.temperature,
            "motor_temperature_c",
            -50.0,
            cfg.temperature_limit_c,
            "C",
        ),
        Bound("tilt", cfg.tilt, "rotation", 0.0, cfg.tilt_limit_rad, "rad", tilt_rad),
        Bound(
            "workspace",
            cfg.workspace,
            "tcp_position_m",
            np.array(cfg.workspace_low_m),
            np.array(cfg.workspace_high_m),
            "m",
        ),
    ]
    bounds: list[Bound] = []
    inert: list[str] = []
    for bound in wanted:
        reading = spec.readings.get(bound.key)
        # Joint limits are the command's: they say nothing where commands are no joint angles.
        fits = bound.rule != "joint_position" or (
            spec.command.unit == "rad" and reading is not None and reading.shape == low.shape
        )
        if bound.mode == "off":
            continue
        if reading is None or not fits:
            name = f"{bound.rule} ({bound.key})"
            inert += [name] if name not in inert else []
        else:
            bounds.append(bound)
    return bounds, inert


def tilt_rad(rotation: Values) -> Values:
    """Angle between the body's z axis and the world's, from (3, 3) world-from-body; 0 .. pi."""
    return np.asarray(math.acos(float(np.clip(rotation[2, 2], -1.0, 1.0))))
