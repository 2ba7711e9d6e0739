"""Pictures as the encoder wants them: 64x64, channels last."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.envs.core import load_package

SIDE: Final = 64


def shrink(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) uint8 -> (64, 64, C), each pixel the mean of what it covers."""
    return resize(picture, SIDE, SIDE)


def resize(picture: NDArray[Any], width: int, height: int) -> NDArray[np.uint8]:
    """(H, W) or (H, W, C) uint8 -> (height, width, C)."""
    cv2 = load_package("cv2", "learner", "scaling images")
    if picture.shape[:2] != (height, width):
        smaller = picture.shape[0] >= height and picture.shape[1] >= width
        way = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
        picture = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=way)
    return np.array(picture, np.uint8).reshape(height, width, -1)
