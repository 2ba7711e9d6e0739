"""Products with float16 weights for a policy's step: half.c, where it can be compiled."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import subprocess
from collections.abc import Callable

from daydreamer.native.library import SWITCH, built, reason

log = logging.getLogger(__name__)

FLAGS = ("-O3", "-march=native", "-fPIC")

# Addresses of w (n_out, n_in) float16, x (n_in,) and y (n_out,) float32; n_out; n_in.
HalfProduct = Callable[[int, int, int, int, int], None]


@functools.cache
def half_product() -> HalfProduct | None:
    """Y = w x, or None (said once) where it cannot be compiled."""
    if os.environ.get(SWITCH, "") == "off":
        return None
    try:
        # PyDLL keeps the interpreter's lock: a product takes microseconds, getting the lock back
        # from another thread up to 5 ms.
        found = ctypes.PyDLL(str(built("half", FLAGS)))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no C kernel, policy steps are slower: %s", reason(error))
        return None
    function = found.half_product
    function.argtypes, function.restype = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2, None
    return function
