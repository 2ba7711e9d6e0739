"""What an encoder makes of a task's observations: which are vectors, which images. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping

from robots.base import ArraySpec

IMAGE_SIZE = 64  # the convolutions below fit 64x64 exactly: 64 -> 31 -> 14 -> 6 -> 2
KERNEL, STRIDE, LEVELS = 4, 2, 4


def split_keys(observations: Mapping[str, ArraySpec]) -> tuple[list[str], list[str]]:
    """Names of vector and of image keys, each sorted. Raises ValueError on another image size."""
    images = sorted(key for key, spec in observations.items() if spec.is_image)
    for key in images:
        if observations[key].shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"observation {key} is {observations[key].shape}, images must be "
                f"({IMAGE_SIZE}, {IMAGE_SIZE}, C): resize them in the task"
            )
    return sorted(set(observations) - set(images)), images


def vector_size(spec: ArraySpec) -> int:
    """Numbers in one vector observation."""
    return math.prod(spec.shape)
