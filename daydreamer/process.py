"""What every process of a run does at its start: threads, log file, signals, parent.

Imports no torch, so that the thread limits are in place before torch reads them.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import IO, TYPE_CHECKING

from daydreamer.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from daydreamer.config import Config

log = logging.getLogger(__name__)

PARENT = "DAYDREAMER_PARENT"  # environment: the process id this process must not outlive
ORPHAN_GRACE_S = 20.0  # what a process whose parent died has for its last checkpoint
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class StopFlag:
    """True once SIGINT or SIGTERM came, or set() was called. Asked between two steps.

    A second SIGINT raises KeyboardInterrupt, for the impatient: `finally` blocks still run.
    """

    def __init__(self) -> None:
        # A plain attribute: a handler that takes a lock can deadlock with what it interrupted.
        self.signal: int | None = None
        self._set = False

    def install(self) -> StopFlag:
        """Answer SIGINT and SIGTERM from now on. Main thread only."""
        signal.signal(signal.SIGINT, self._handle)
        signal.signal(signal.SIGTERM, self._handle)
        return self

    def set(self) -> None:
        """Ask for a clean stop from inside."""
        self._set = True

    def __call__(self) -> bool:
        return self._set

    def wait(self, timeout_s: float) -> bool:
        """Sleep up to timeout_s, less when the flag is set; returns the flag."""
        end_s = time.monotonic() + timeout_s
        while not self._set and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(0.05, left_s))
        return self._set

    @property
    def exit_code(self) -> int:
        """0, or 130 when a signal asked for the stop."""
        return 0 if self.signal is None else INTERRUPTED

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._set and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        self._set = True


# Of OpenMP's threads, at a barrier; the second is what GNU's library reads.
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


def limit_threads(threads: int) -> None:
    """Cap this process's native thread pools (0: leave their size alone).

    Call before numpy and torch are imported, as they read the environment then: a config is built
    without them.
    """
    os.environ.update(thread_environment(threads))


def thread_environment(threads: int) -> dict[str, str]:
    """What a process must find in its environment to keep to so many threads (0: no bound).

    Two spinning OpenMP threads next to a busy process cost a scheduler quantum (8 ms) at every
    barrier; sleeping ones do not, but waking them makes short operations slow. So they spin for a
    few microseconds and then sleep. What a user set is left alone.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS") if threads else ()
    waiting = {} if WAITING.keys() & os.environ.keys() else WAITING
    return {**dict.fromkeys(names, str(threads)), **waiting}


def start_logging(file: Path) -> QueueListener:
    """Log to `file` and to stderr; once only where stderr already goes to that file.

    A thread of its own writes, for as long as the process lives: a log line must not hold up a
    control step while the disk is busy with somebody's fsync. Returns that thread's owner.
    """
    _make_folder(file.parent)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    form = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    if not root.handlers:
        root.addHandler(logging.StreamHandler())
    for handler in root.handlers:
        handler.setFormatter(form)
    if not _stderr_is(file):
        to_file = logging.FileHandler(file)
        to_file.setFormatter(form)
        root.addHandler(to_file)
    lines: SimpleQueue[logging.LogRecord] = SimpleQueue()
    writer = QueueListener(lines, *root.handlers, respect_handler_level=True)
    root.handlers = [QueueHandler(lines)]
    writer.start()
    atexit.register(writer.stop)  # which writes what waits
    return writer


def seed_everything(seed: int) -> None:
    """Seed python's and numpy's global generators, and torch's in a process that imported it."""
    import numpy as np

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # what third-party code draws from
    if "torch" in sys.modules:  # an actor does without
        sys.modules["torch"].manual_seed(seed)


def follow_parent() -> None:
    """End when the parent named in the environment dies, even by `kill -9`; none named: no effect.

    The kernel sends SIGTERM where it can (Linux), so that the stop is clean; a thread watches the
    parent in any case and ends a process that has not stopped within the grace.
    """
    named = os.environ.get(PARENT)
    if named is None:
        return
    parent = int(named)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before prctl was called
        log.error("the process that started this one (pid %d) is gone; stopping", parent)
        sys.exit(1)
    threading.Thread(target=_watch_parent, args=(parent,), name="parent-watch", daemon=True).start()


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    log.error("the process that started this one (pid %d) is gone; stopping", parent)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_GRACE_S)
    log.error("not stopped within %.0f s of the parent's death; ending now", ORPHAN_GRACE_S)
    os._exit(1)


def _stderr_is(file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(2), file.stat())
    except OSError:
        return False


def save_config_once(cfg: Config) -> None:
    """Write RUN/config.yaml, unless the process that started this one has done so."""
    from daydreamer.config import save

    if PARENT not in os.environ:
        save(cfg, cfg.folder)


@contextlib.contextmanager
def claim(folder: Path, who: str, cure: str, wait_s: float = 10.0) -> Iterator[None]:
    """Hold `folder` for this process. Raises ConfigError when another one has it.

    wait_s: a process that is just ending gets this long.
    """
    from daydreamer.config.errors import ConfigError

    _make_folder(folder)
    end_s = time.monotonic() + wait_s
    with (folder / "lock").open("w") as lock:
        while not _try_lock(lock):
            if time.monotonic() >= end_s:
                raise ConfigError(
                    f"{who} is running already: another process holds {folder}. Stop it, or {cure}."
                )
            time.sleep(0.2)
        yield  # the kernel lets go of the lock when the process ends, however it ends


def _make_folder(folder: Path) -> None:
    """Make a folder of the run. Raises ConfigError."""
    from daydreamer.config.errors import ConfigError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder {folder} cannot be made ({error.strerror}). Choose another run=DIR."
        ) from error


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
