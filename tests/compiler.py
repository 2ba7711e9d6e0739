"""Whether this machine can compile the kernels: where it can, they must be there."""

from __future__ import annotations

import platform
from pathlib import Path

from daydreamer.native.library import compiler


def has_compiler() -> bool:
    try:
        compiler()
    except OSError:
        return False
    return True


def has_float16() -> bool:
    """Whether the processor converts them, which half.c needs."""
    return platform.machine() == "aarch64" or " f16c " in Path("/proc/cpuinfo").read_text()
