"""Keep dreaming: training goes on from stored data while no robot is connected, within a bound.

connected   ----x  30 s (learner.dream_after_s)  |  dreaming            | waiting
updates     paid for by rows ...                 |  up to the bound     | none
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from daydreamer.replay.limiter import ReplayRatioLimiter

log = logging.getLogger(__name__)


class Dreaming:
    """Says when an update may be dreamed, and says in the log when that begins and ends."""

    def __init__(
        self,
        limiter: ReplayRatioLimiter,
        is_connected: Callable[[], bool],
        after_s: float,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """is_connected: whether any robot is there. after_s: without one, before dreaming."""
        self._limiter, self._is_connected = limiter, is_connected
        self._after_s, self._now = after_s, now
        self._heard_s = now()
        self._begun_at: int | None = None  # dreamed before this dream; None: none has begun
        self.is_dreaming = False

    def may_dream(self, updates: int) -> bool:
        """Whether the next update may be a dreamed one. Call before every update."""
        time_s = self._now()
        if self._is_connected():
            self._heard_s = time_s
            self._wake()
            return False
        if time_s - self._heard_s < self._after_s or self._limiter.updates_allowed(updates):
            return False
        left = self._limiter.dreams_allowed(updates)
        if not left and self.is_dreaming:
            self.is_dreaming = False
            log.info(
                "%d updates dreamed, as many as learner.dream_share=%g allows: waiting for rows",
                self._limiter.dreamed,
                self._limiter.dream_share,
            )
        return left > 0

    def dreamed(self, updates: int) -> None:
        """Call after each dreamed update. The dream begins with the first: there were rows."""
        if self.is_dreaming:
            return
        self.is_dreaming = True
        if self._begun_at is None:
            self._begun_at = self._limiter.dreamed - 1
        log.info(
            "no robot is connected: dreaming on from stored data, at most %d updates "
            "(replay ratio up to %g)",
            1 + self._limiter.dreams_allowed(updates),
            (1 + self._limiter.dream_share) * self._limiter.ratio,
        )

    def _wake(self) -> None:
        if self._begun_at is not None:
            dreamed = self._limiter.dreamed - self._begun_at
            log.info("a robot is connected again: %d updates were dreamed meanwhile", dreamed)
        self._begun_at, self.is_dreaming = None, False
