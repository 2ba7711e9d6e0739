"""Images in fewer bytes, exactly: differences to neighbours, then zstd.

    # frame 0      each pixel minus the one to its left, modulo 256
    # frame n      each pixel minus the same pixel of frame n - 1
    # bytes        one zstd frame that states the size of its content

docs/decisions/0052-encodings.md has the figures of this and of what was not chosen.
"""

from __future__ import annotations

import math

import numpy as np
import zstandard

from daydreamer.wire.rows import Array, Column

ZSTD_DELTA = "zstd-delta"  # name of this encoding in a chunk's header
LEVEL = 1  # higher ones take longer and save nothing on what a camera's noise leaves
WORTH_IT = 7 / 8  # of the plain bytes at most; what saves less travels plain


def is_image(column: Column) -> bool:
    """True for columns that may be encoded: (H, W, C) uint8 a row."""
    return column.dtype == "uint8" and len(column.shape) == 3


def shrink(images: Array) -> bytes | None:
    """Encode (n, H, W, C) uint8; None when that would save next to nothing."""
    change = images.copy(order="C")
    change[1:] -= images[:-1]
    change[0, :, 1:] -= images[0, :, :-1]
    packed = zstandard.ZstdCompressor(level=LEVEL).compress(change.data)
    return packed if len(packed) <= WORTH_IT * images.nbytes else None


def restore(packed: bytes | memoryview, shape: tuple[int, ...]) -> Array:
    """Decode what shrink() made of an array of this shape, whose size the caller has bounded.

    Raises ValueError, before anything is allocated where the sizes do not agree.
    """
    size = math.prod(shape)
    try:
        announced = zstandard.frame_content_size(packed)
        if announced != size:
            raise ValueError(f"content of {announced} bytes announced, {size} expected")
        plain = zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    change = np.frombuffer(plain, np.uint8).reshape(shape)
    images = np.empty(shape, np.uint8)
    np.cumsum(change[0], axis=1, dtype=np.uint8, out=images[0])
    for n in range(1, len(images)):
        np.add(images[n - 1], change[n], out=images[n])
    return images
