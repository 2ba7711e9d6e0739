"""Kernels of a policy's step, where they can be compiled: half.c, and a part of kernels.c.

A step has one thread, and an actor no PyTorch: neither needs OpenMP.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Callable
from typing import NamedTuple

from daydreamer.native import library
from daydreamer.native.library import PROBLEMS, SWITCH, load, reason

log = logging.getLogger(__name__)

FLAGS = tuple(flag for flag in library.FLAGS if flag != "-fopenmp")

_P, _I = ctypes.c_void_p, ctypes.c_int64


class Kernels(NamedTuple):
    """Functions of addresses and lengths; arrays are contiguous, float32 unless said otherwise."""

    half_product: Callable[[int, int, int, int, int], None]
    """y (n_out,) = w x, given w (n_out, n_in) float16, x (n_in,), y, n_out, n_in."""
    norm_elu: Callable[[int, int, int, int, int, int], None]
    """y = elu(layer norm(x) * w + b), given x (rows, units), w, b (units,), y, rows, units."""


@functools.cache
def kernels() -> Kernels | None:
    """The kernels for this machine, or None (said once) where they cannot be compiled."""
    if os.environ.get(SWITCH, "") == "off":
        return None
    try:
        # PyDLL keeps the interpreter's lock: a kernel takes microseconds, getting the lock back
        # from another thread up to 5 ms.
        half, rows = (load(name, FLAGS, ctypes.PyDLL) for name in ("half", "kernels"))
    except PROBLEMS as error:
        log.warning("no C kernels, policy steps are slower: %s", reason(error))
        return None
    product, norm_elu = half.half_product, rows.norm_elu_f32
    product.argtypes, product.restype = [_P] * 3 + [_I] * 2, None
    norm_elu.argtypes, norm_elu.restype = [_P] * 4 + [_I] * 2, None
    return Kernels(product, norm_elu)
