"""Brings the body to rest when the control loop stalls, from a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Watchdog:
    """Calls `on_stall` once when no heartbeat has come for `timeout_s`; armed by the first beat.

    A beat after that arms it again. `on_stall` runs on the watchdog's thread: give it the body's
    stop(), which is allowed in any state and from any thread.
    """

    def __init__(
        self,
        timeout_s: float,
        on_stall: Callable[[], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Not running before start()."""
        if not timeout_s > 0:
            raise ValueError(f"watchdog timeout_s={timeout_s}: expected more than 0")
        self._timeout_s = timeout_s
        self._on_stall = on_stall
        self._now = now
        self._change = threading.Condition()
        self._beat_s: float | None = None  # None: not armed
        self._closed = False
        self._stalls = 0
        self._thread: threading.Thread | None = None

    @property
    def stalls(self) -> int:
        """How often the loop has stalled."""
        return self._stalls

    def start(self) -> None:
        """Begin to listen. The time to the first beat does not count: connecting takes long."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()

    def beat(self) -> None:
        """The control loop is alive. Cheap; call it every control step."""
        # One store and no lock: the watcher looks by itself, and the loop never waits for it.
        self._beat_s = self._now()

    def pause(self) -> None:
        """Expect no beats until the next one: the loop is about to do something slow on purpose."""
        self._beat_s = None

    def close(self) -> None:
        """Stop watching. Any number of times; waits for a stop that is under way."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)

    def __enter__(self) -> Watchdog:
        """start()."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """close()."""
        self.close()

    def _watch(self) -> None:
        while True:
            with self._change:
                self._change.wait(timeout=self._timeout_s / 4)
                if self._closed:
                    return
            beat_s = self._beat_s
            if beat_s is None or self._now() - beat_s <= self._timeout_s:
                continue
            # A beat that came meanwhile stays: the next stall is then noticed as well.
            if self._beat_s == beat_s:
                self._beat_s = None
            self._stalls += 1
            log.error("the control loop has been silent for %.2f s", self._now() - beat_s)
            try:
                self._on_stall()
            except Exception:
                # The body could not be stopped. Nobody is left to raise to, so it is said loudly.
                log.exception("the watchdog could not bring the body to rest")
