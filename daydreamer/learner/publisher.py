"""Ships policy weights: cut by the training thread, packed and handed out by another one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from daydreamer.wire.codec import WireError
from daydreamer.wire.weights import pack_weights

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]
NOTHING = -1


class Publisher:
    """Newest weights only: what is offered while the last ones are packed replaces what waits."""

    def __init__(
        self,
        publish: Callable[[int, bytes], None],
        *,
        every_updates: int,
        every_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = NOTHING  # published last
        self.refused = 0  # not finite, say
        self._publish = publish
        self._every_updates, self._every_s, self._now = every_updates, every_s, now
        self._cut_version, self._cut_s = NOTHING, -float("inf")
        self._waiting: tuple[Arrays, int, float] | None = None
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Begin publishing what is offered."""
        self._thread.start()

    def close(self) -> None:
        """Publish what waits, then end; at most a few seconds."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def is_due(self, updates: int) -> bool:
        """Whether enough updates and enough time went by since the last cut."""
        if self._cut_version == NOTHING:
            return updates > 0
        return (
            updates - self._cut_version >= self._every_updates
            and self._now() - self._cut_s >= self._every_s
        )

    def offer(self, arrays: Arrays, version: int) -> None:
        """Publish soon. arrays must not change afterwards."""
        self._cut_version, self._cut_s = version, self._now()
        with self._changed:
            self._waiting = (arrays, version, time.time())
            self._changed.notify()

    def publish_now(self, arrays: Arrays, version: int) -> None:
        """Publish before returning: in lockstep, or when a run goes on. Needs no thread."""
        self._cut_version, self._cut_s = version, self._now()
        self._send(arrays, version, time.time())

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting is None and not self._closed:
                    self._changed.wait(timeout=1.0)
                waiting, self._waiting = self._waiting, None
            if waiting is None:
                return
            self._send(*waiting)

    def _send(self, arrays: Arrays, version: int, cut_time_s: float) -> None:
        try:
            blob = pack_weights(arrays, version, cut_time_s, half=True)
        except WireError as error:
            self.refused += 1
            log.error("policy version %d is not published: %s", version, error)
            return
        self._publish(version, blob)
        self.version = version
