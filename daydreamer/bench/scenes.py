"""Camera frames without a camera: a textured room, a thing that moves in it, a sensor's noise.

Lossless compression lives on what an image has in common with its neighbours, so the plain noise of
`Workload.rows` says nothing about it. docs/decisions/0052-encodings.md compares these frames with
renders and with a photograph.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SENSOR_NOISE = 2.0  # standard deviation in grey levels: a webcam indoors


def film(
    count: int, shape: tuple[int, ...], *, noise: float = SENSOR_NOISE, pan: float = 0.5
) -> NDArray[np.uint8]:
    """(count, H, W, C) of a room in which a dark box wanders about.

    noise: of the sensor; 0 is a render. pan: pixels that the camera turns from frame to frame.
    """
    height, width, channels = shape
    rng = np.random.default_rng(0)
    room = _room(rng, height, 4 * width, channels)
    rows, columns = np.mgrid[:height, :width]
    frames = np.empty((count, *shape), np.uint8)
    for i in range(count):
        whole, part = divmod(i * pan, 1)
        turned = np.roll(room, -int(whole), axis=1)
        picture = (1 - part) * turned[:, :width] + part * turned[:, 1 : width + 1]
        top, left = height * (0.5 + 0.3 * np.sin(i / 11)), width * (0.5 + 0.3 * np.cos(i / 17))
        picture[(abs(rows - top) < height / 8) & (abs(columns - left) < width / 8)] = 30
        picture += noise * rng.standard_normal(shape)
        frames[i] = np.clip(np.rint(picture), 0, 255)
    return frames


def _room(rng: np.random.Generator, height: int, width: int, channels: int) -> NDArray[Any]:
    """(height, width, channels) panorama of blurred patches, large and small."""
    room = np.full((height, width, channels), 130.0)
    for cell, contrast in ((16, 70), (6, 30), (2, 12)):
        size = (-(-height // cell), -(-width // cell), channels)
        patches = rng.uniform(-contrast, contrast, size)
        room += patches.repeat(cell, 0).repeat(cell, 1)[:height, :width]
    for axis in (0, 1, 0, 1):
        room = (np.roll(room, 1, axis) + 2 * room + np.roll(room, -1, axis)) / 4
    return room
