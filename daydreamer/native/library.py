"""Compiles a C file for this processor, once, and loads it; without a compiler there is none."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

log = logging.getLogger(__name__)

SWITCH = "DAYDREAMER_KERNELS"  # environment: "off" leaves everything to PyTorch
SOURCES = Path(__file__).parent
BUILD_TIMEOUT_S = 60.0
# Sums may be reordered into vectors; infinities and not-a-numbers keep their meaning, as training
# watches for them.
FLAGS = (
    "-O3",
    "-march=native",
    *(("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()),
    "-fopenmp",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-freciprocal-math",
)

# What keeps a library from being there: no compiler, no home folder, a compiler's own complaint.
PROBLEMS = (OSError, RuntimeError, UnicodeError, subprocess.SubprocessError)

_Library = TypeVar("_Library", bound=ctypes.CDLL)

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
        found = load("kernels", FLAGS, ctypes.CDLL)
    except PROBLEMS as error:
        log.warning("no C kernels, updates are slower: %s", reason(error))
        return None
    for name, arguments in _SIGNATURES.items():
        for kind in ("f32", "bf16"):
            function = getattr(found, f"{name}_{kind}")
            function.argtypes, function.restype = arguments, None
    return found


def load(name: str, flags: Sequence[str], kind: Callable[[str], _Library]) -> _Library:
    """NAME.c as a library, compiled now unless it was before.

    Raises one of PROBLEMS; reason() puts it into words.
    """
    try:
        return kind(str(_built(name, flags)))
    except OSError:
        # A file that a disk has damaged would be there for ever.
        _built(name, flags).unlink(missing_ok=True)
        return kind(str(_built(name, flags)))


def compiler() -> list[str]:
    """The command that compiles C, without its arguments. Raises OSError."""
    found = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if found is None:
        raise OSError("there is no C compiler (install gcc, or set CC)")
    return shlex.split(found)


def _built(name: str, flags: Sequence[str]) -> Path:
    command = compiler()
    sources = sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.inc")])
    key = hashlib.sha256()
    # Another processor wants other instructions: a home folder may be shared between machines.
    for part in (*command, *flags, platform.machine(), _processor()):
        key.update(part.encode())
    for source in sources:
        key.update(source.read_bytes())
    path = _cache_folder() / f"{name}-{key.hexdigest()[:16]}.so"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            compiled, made = Path(folder) / "compiled.o", Path(folder) / "made.so"
            # Linked without an OpenMP of its own: it takes the one that PyTorch brought.
            _run([*command, *flags, "-c", str(SOURCES / f"{name}.c"), "-o", str(compiled)])
            _run([*command, "-shared", str(compiled), "-o", str(made), "-lm"])
            with made.open("rb") as file:
                os.fsync(file.fileno())
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
    import torch  # which loads it

    own = str(Path(torch.__file__).parent)
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    mapped = {words[5] for line in maps.splitlines() if len(words := line.split(maxsplit=5)) > 5}
    names = ("libgomp", "libomp", "libiomp")
    loaded = [path for path in mapped if Path(path).name.startswith(names)]
    # Another one may be there too, preloaded for instance: PyTorch's own goes first.
    path = min(loaded, key=lambda path: (not path.startswith(own), path), default="libgomp.so.1")
    ctypes.CDLL(path, ctypes.RTLD_GLOBAL)


def reason(error: Exception) -> str:
    """Why there is no library, in one line."""
    if isinstance(error, subprocess.CalledProcessError):
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        return f"{' '.join(error.cmd[:1])} failed: {lines[0]}"
    return str(error)
