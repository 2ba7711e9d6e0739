"""PyBullet, imported where it is used and kept quiet."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from robots.base import RobotError

log = logging.getLogger(__name__)

# File descriptors belong to the process: two redirections at once would undo each other.
_REDIRECTING = threading.Lock()


def load_pybullet() -> Any:
    """The pybullet module. Raises RobotError with the line that installs it when it is missing."""
    try:
        with quiet():
            return importlib.import_module("pybullet")
    except ImportError as error:
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise RobotError(
            f"pybullet cannot be imported ({error}), and a twin needs it: "
            "pip install 'daydreamer[twin]'. Its wheels end at Python 3.11; "
            f"this is Python {python}."
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what C code prints off stdout and stderr; it goes to the log at level DEBUG instead.

    Bullet prints from C, beneath sys.stdout, and a command's stdout is read by programs.
    """
    with _REDIRECTING, contextlib.ExitStack() as stack:
        _flush()
        said = stack.enter_context(tempfile.TemporaryFile())
        for descriptor in (1, 2):
            try:
                saved = os.dup(descriptor)
            except OSError:  # closed, as in a daemon: nothing to keep quiet
                continue
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, descriptor)
            os.dup2(said.fileno(), descriptor)
        try:
            yield
        finally:
            _flush()
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            if text:
                log.debug("bullet said: %s", text)


def _flush() -> None:
    """Empty Python's and C's buffers: what was printed before must not come out after."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ctypes.CDLL(None).fflush(None)
