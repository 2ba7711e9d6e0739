"""A busy neighbour: one process that computes without pause, free to run on any core."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Ends with its parent, however that ends.
BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(100_000))"
END_S = 10.0


class Neighbour:
    """Started and ended at will; knows how much processor time it has taken in all."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._former_s = 0.0

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """Next door, for as long as the context lasts."""
        self._process = subprocess.Popen([sys.executable, "-c", BUSY, str(os.getpid())])
        try:
            yield
        finally:
            self._former_s = self.cpu_s()
            process, self._process = self._process, None
            process.kill()
            process.wait(END_S)

    def cpu_s(self) -> float:
        """Processor seconds of all neighbours so far. Linux only."""
        if self._process is None:
            return self._former_s
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        user, system = text.rpartition(")")[2].split()[11:13]
        return self._former_s + (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
