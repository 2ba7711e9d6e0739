"""A process started by this one: a process group, a log file, an end bounded in time."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from daydreamer.process import PARENT

log = logging.getLogger(__name__)

TERM_GRACE_S = 5.0
TAIL_LINES = 15


class Child:
    """One `daydreamer VERB ...`. It ends when this process does, even by `kill -9`."""

    def __init__(
        self,
        verb: str,
        words: Sequence[str],
        log_file: Path,
        environment: Mapping[str, str],
        *,
        niceness: int = 0,
    ) -> None:
        """niceness: added to this process's own; others go first on a busy machine."""
        self.verb = verb
        self._niceness = niceness
        self.words = list(words)  # of the next start
        self.restarts = 0
        self._log_file = log_file
        self._environment = dict(environment)
        self._log_start = 0  # where this start's lines begin
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again)."""
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "daydreamer", self.verb, *self.words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C on the terminal reaches this process only, which ends the others in order.
                start_new_session=True,
                env={**os.environ, **self._environment, PARENT: str(os.getpid())},
            )
        if self._niceness:
            own = os.getpriority(os.PRIO_PROCESS, 0)
            # Threads inherit it from the thread that starts them, and there is only one yet.
            with contextlib.suppress(ProcessLookupError):  # it died at once; exit_code says so
                os.setpriority(os.PRIO_PROCESS, self._process.pid, own + self._niceness)

    @property
    def pid(self) -> int | None:
        """Of its last start; None: it was never started."""
        return None if self._process is None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs (or was never started); negative: killed by that signal."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def interrupt(self) -> None:
        """Ask for a clean end; returns at once."""
        self._signal(signal.SIGINT)

    def wait(self, timeout_s: float) -> bool:
        """True once it has ended."""
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, grace_s: float) -> None:
        """End it: SIGINT and grace_s, then SIGTERM, then SIGKILL."""
        if not self.is_running:
            return
        self.interrupt()
        if self.wait(grace_s):
            return
        log.warning("the %s did not end within %.0f s; ending it harder", self.verb, grace_s)
        self._signal(signal.SIGTERM)
        if not self.wait(TERM_GRACE_S):
            self._signal(signal.SIGKILL)
            self.wait(TERM_GRACE_S)

    def last_words(self) -> str:
        """The end of what it logged since its start."""
        try:
            with self._log_file.open("rb") as file:
                file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - 8192))
                text = file.read().decode(errors="replace")
        except OSError as error:
            return f"({self._log_file} cannot be read: {error.strerror})"
        return "\n".join(text.splitlines()[-TAIL_LINES:])

    def _signal(self, number: int) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        # The group: a child of the child must not stay behind either.
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return


def name_of_signal(number: int) -> str:
    """9 -> SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
