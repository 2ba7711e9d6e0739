"""What arrives at an actor and is handed to its control thread: weights and turns."""

from __future__ import annotations

import logging
import threading

from daydreamer.wire.headers import WireError
from daydreamer.wire.messages import Turn
from daydreamer.wire.weights import Weights, unpack_weights

log = logging.getLogger(__name__)


class Inbox:
    """A slot for the newest weights and one for the newest turn.

    The link's thread fills them; any thread takes. Only the newest of each is kept: a robot that
    was away has no use for the policies in between.
    """

    def __init__(self, session: str) -> None:
        self.newest_seen = -1  # newest version that the learner has spoken of
        self.held = -1  # newest version that was received and verified
        self.bad_weights = 0
        self._session = session
        self._bad_version = -1  # newest version that did not verify: not asked for again
        self._requested_s: float | None = None
        self._news = threading.Condition()
        self._weights: Weights | None = None
        self._turn: Turn | None = None

    def begin(self, version: int) -> None:
        """A learner said Welcome. One that resumed from an older checkpoint is followed back."""
        self._requested_s = None
        self._bad_version = -1
        self.newest_seen = version
        if version < self.held:
            self.held = -1

    def wants(self, version: int, now_s: float, timeout_s: float) -> bool:
        """True when `version` should be asked for now."""
        self.newest_seen = max(version, self.newest_seen)
        news = version > max(self.held, self._bad_version)
        return news and not self.is_fetching(now_s, timeout_s)

    def requested(self, now_s: float) -> None:
        """A request has left."""
        self._requested_s = now_s

    def request_lost(self) -> None:
        """The learner that was asked is gone."""
        self._requested_s = None

    def is_fetching(self, now_s: float, timeout_s: float) -> bool:
        """True while an answer is awaited."""
        return self._requested_s is not None and now_s - self._requested_s < timeout_s

    def receive_weights(self, blob: bytes) -> str | None:
        """Verify a blob and offer it; return what is wrong with it, None when all is well."""
        self._requested_s = None
        try:
            weights = unpack_weights(blob)
        except WireError as error:
            self.bad_weights += 1
            self._bad_version = self.newest_seen
            log.error("weights are refused: %s", error)
            return f"weights are refused: {error}"
        self.newest_seen = max(weights.version, self.newest_seen)
        if weights.version != self.held:
            self.held = weights.version
            with self._news:
                self._weights = weights
                self._news.notify_all()
        return None

    def receive_turn(self, turn: Turn) -> None:
        """Keep the newest turn of this session; the learner repeats it until a chunk follows."""
        if turn.session != self._session:
            return
        with self._news:
            if self._turn is None or turn.sequence >= self._turn.sequence:
                self._turn = turn
                self._news.notify_all()

    def take_weights(self) -> Weights | None:
        """The newest weights, each returned once."""
        with self._news:
            weights, self._weights = self._weights, None
            return weights

    def wait_weights(self, version: int, timeout_s: float) -> Weights | None:
        """The newest weights once their version is at least `version`; None on timeout."""
        with self._news:
            if not self._news.wait_for(lambda: self._has_weights(version), timeout_s):
                return None
            weights, self._weights = self._weights, None
            return weights

    def wait_turn(self, sequence: int, timeout_s: float) -> int | None:
        """The version of the first turn that covers `sequence`; None on timeout."""
        with self._news:
            if not self._news.wait_for(lambda: self._has_turn(sequence), timeout_s):
                return None
            return None if self._turn is None else self._turn.version

    def _has_weights(self, version: int) -> bool:
        return self._weights is not None and self._weights.version >= version

    def _has_turn(self, sequence: int) -> bool:
        return self._turn is not None and self._turn.sequence >= sequence
