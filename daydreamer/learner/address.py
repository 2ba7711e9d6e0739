"""RUN/learner/address: where the learner listens, for whoever let it choose its port.

    {"address": "tcp://127.0.0.1:23117", "pid": 4711}

Complete or invisible. The process id tells a learner that listens from one that was killed; what a
killed one has left says which port to take again, so that its actors find the next one there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

FILE = "address"


@contextlib.contextmanager
def announced(folder: Path, address: str) -> Iterator[None]:
    """Say in folder (RUN/learner) that this process listens at address, until it ends."""
    path = folder / FILE
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps({"address": address, "pid": os.getpid()}), encoding="utf-8")
    temporary.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def address_of(folder: Path, pid: int | None = None) -> str | None:
    """Where process `pid` listens, or whichever learner spoke last; None: nothing was said."""
    try:
        said = json.loads((folder / FILE).read_text(encoding="utf-8"))
        address, owner = said["address"], said["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(address) if pid in (None, owner) else None
