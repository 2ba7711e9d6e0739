"""Compiles a C file for this processor, once, and loads it; without a compiler there is none."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

SWITCH = "DAYDREAMER_KERNELS"  # environment: "off" leaves everything to PyTorch
SOURCES = Path(__file__).parent
BUILD_TIMEOUT_S = 60.0
# Sums may be reordered into vectors; infinities and not-a-numbers keep their meaning, as training
# watches for them.
FLAGS = (
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fopenmp",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-freciprocal-math",
)

_P, _I, _F = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_SIGNATURES = {
    "norm_elu": [_P] * 4 + [_I] * 2,
    "norm_elu_back": [_P] * 8 + [_I] * 2,
    "gates": [_P] * 5 + [_I] * 2,
    "gates_back": [_P] * 10 + [_I] * 2,
    "draw": [_P, _P, _F, _P, _P] + [_I] * 3,
    "draw_back": [_P, _P, _F, _P] + [_I] * 3,
}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The kernels for this machine, or None (said once) where they cannot be built."""
    if os.environ.get(SWITCH, "") == "off":
        return None
    try:
        _share_threads()
        found = ctypes.CDLL(str(built("kernels", FLAGS)))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no C kernels, updates are slower: %s", reason(error))
        return None
    for name, arguments in _SIGNATURES.items():
        for kind in ("f32", "bf16"):
            function = getattr(found, f"{name}_{kind}")
            function.argtypes, function.restype = arguments, None
    return found


def built(name: str, flags: Sequence[str]) -> Path:
    """Path of NAME.c as a library, compiled now unless it was before.

    Raises OSError or SubprocessError; reason() puts them into words.
    """
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise OSError("there is no C compiler (install gcc, or set CC)")
    sources = sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.inc")])
    key = hashlib.sha256()
    # Another processor wants other instructions: a home folder may be shared between machines.
    for part in (compiler, *flags, platform.machine(), _processor()):
        key.update(part.encode())
    for source in sources:
        key.update(source.read_bytes())
    path = _cache_folder() / f"{name}-{key.hexdigest()[:16]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            compiled, made = Path(folder) / "compiled.o", Path(folder) / "made.so"
            # Linked without an OpenMP of its own: it takes the one that PyTorch brought.
            _run([compiler, *flags, "-c", str(SOURCES / f"{name}.c"), "-o", str(compiled)])
            _run([compiler, "-shared", str(compiled), "-o", str(made), "-lm"])
            made.replace(path)  # several processes may do this at once: the last one wins, whole
    return path


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)


def _cache_folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "daydreamer"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "".join(sorted({line for line in lines if line.startswith(wanted)}))


def _share_threads() -> None:
    """Make PyTorch's OpenMP visible: a second one would have threads of its own."""
    import torch  # noqa: F401  # which loads it

    loaded = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    for path in sorted({word for word in loaded if "/lib" in word}):
        if Path(path).name.startswith(("libgomp", "libomp", "libiomp")):
            ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
            return
    ctypes.CDLL("libgomp.so.1", ctypes.RTLD_GLOBAL)


def reason(error: Exception) -> str:
    """Why there is no library, in one line."""
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        return f"{' '.join(error.cmd[:1])} failed: {lines[0]}"
    return str(error)
