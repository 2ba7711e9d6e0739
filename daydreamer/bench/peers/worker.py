"""The orchestrator's side of one contestant: a process, a question, an answer in bounded time."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import daydreamer
from daydreamer.bench.peers.contestants import Contestant
from daydreamer.process import PARENT, WAITING, thread_environment

ROOT = Path(daydreamer.__file__).parents[1]
END_S = 5.0  # between the pipe's end and SIGKILL
TAIL_CHARACTERS = 1500


class WorkerError(RuntimeError):
    """A contestant died, or took longer than it may. Says which, and its last words."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} {what}")
        self.name = name


def _threads_of(contestant: Contestant, threads: int) -> dict[str, str]:
    """How OpenMP's threads wait is our own choice: peers have OpenMP as it is on its own."""
    found = thread_environment(threads)
    return found if contestant.is_ours else {k: v for k, v in found.items() if k not in WAITING}


class Worker:
    """A running contestant. Always close() it."""

    def __init__(self, contestant: Contestant, threads: int) -> None:
        """Starts the process; build() is to come first."""
        self.contestant, self._threads = contestant, threads
        self.cpu_s = 0.0  # processor seconds it had used by its last answer
        self._unread = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        try:
            self._process = subprocess.Popen(
                contestant.command,
                bufsize=0,  # answers are read from the pipe itself
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                cwd=ROOT,
                start_new_session=True,  # a group, so that a compiler's helpers end with it
                env={
                    **os.environ,
                    **_threads_of(contestant, threads),
                    "OPENBLAS_NUM_THREADS": "1",  # numpy's: our policy step, which has one
                    "PYTHONPATH": str(ROOT),
                    PARENT: str(os.getpid()),
                },
            )
        except OSError as error:
            self._errors.close()
            raise WorkerError(
                contestant.name,
                f"cannot be started: {contestant.command[0]} ({error.strerror}). "
                "The peers' environment is made by `make bench-peers`.",
            ) from error
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)

    def build(self, limit_s: float) -> dict[str, Any]:
        """Have it make what it trains; the answer names its versions. Raises WorkerError."""
        return self.ask({**self.contestant.build, "threads": self._threads}, limit_s)

    def ask(self, request: Mapping[str, object], limit_s: float) -> dict[str, Any]:
        """The answer to one request. Raises WorkerError after limit_s, and when it died."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure("ended before it was asked") from error
        answer: dict[str, Any] = json.loads(self._read_line(time.monotonic() + limit_s, limit_s))
        self.cpu_s = float(answer["cpu_s"])
        return answer

    def close(self) -> None:
        """Ask it to end, then make it; with its children. Bounded."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is dead, and did not take its last request
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_S)
        with contextlib.suppress(ProcessLookupError):  # nobody is left, as it should be
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(END_S)
        self._selector.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    @property
    def _stdout(self) -> int:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def _read_line(self, end_s: float, limit_s: float) -> bytes:
        while b"\n" not in self._unread:
            if not self._selector.select(max(0.0, end_s - time.monotonic())):
                raise self._failure(f"did not answer within {limit_s:.0f} s")
            got = os.read(self._stdout, 65536)
            if not got:
                raise self._failure("died")
            self._unread += got
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _failure(self, what: str) -> WorkerError:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-TAIL_CHARACTERS:]
        return WorkerError(self.contestant.name, f"{what}. Its last words:\n{said}")
