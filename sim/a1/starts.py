"""How a run of the A1 twin begins."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from robots.a1.spec import ACTION_HIGH_RAD, ACTION_LOW_RAD, FOLDED_RAD, STANDING_RAD


class Start(NamedTuple):
    """Where the trunk's origin and the joints are put, and how long they are held there."""

    position_m: tuple[float, float, float]
    rpy_rad: tuple[float, float, float]
    joint_rad: tuple[float, ...]
    settle_s: float


def draw_start(kind: str, rng: np.random.Generator) -> Start:
    """One start of `kind`; random numbers are drawn for "fall" and "mixed" only."""
    if kind == "mixed":
        kind = ("back", "standing", "fall")[int(rng.integers(3))]
    if kind == "back":
        return Start((0.0, 0.0, 0.15), (math.pi, 0.0, 0.0), tuple(FOLDED_RAD.tolist()), 0.5)
    if kind == "standing":
        return Start((0.0, 0.0, 0.29), (0.0, 0.0, 0.0), tuple(STANDING_RAD.tolist()), 0.5)
    if kind == "fall":
        roll, pitch, yaw = rng.uniform(-math.pi, math.pi, 3).tolist()
        joints = rng.uniform(ACTION_LOW_RAD, ACTION_HIGH_RAD).tolist()
        # High enough that no leg starts below the floor: a stretched one reaches 0.45 m.
        return Start((0.0, 0.0, 0.6), (roll, pitch / 2, yaw), tuple(joints), 2.0)
    raise ValueError(f"start {kind!r}: expected back, standing, fall or mixed")
