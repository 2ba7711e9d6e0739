"""A twin that waits for its learner. A robot never does.

A twin can run a hundred times faster than a learner trains; its rows would then be those of a
policy that had no chance to learn from them. So where the control loop is not paced by real time,
it is paced by the replay ratio: at most SLACK_ROWS ahead of what the updates have paid for. A
learner that goes away is waited for a little; then the twin goes on alone, into its journal.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

from daydreamer.wire.link import LinkStatus
from daydreamer.wire.messages import ROWS_AHEAD

log = logging.getLogger(__name__)

SLACK_ROWS = 64  # about three seconds of an A1
NAP_S = 0.01
TRANSIT_S = 1.5  # from a row to the learner's figure: a chunk's age and its storing
FIRST_WORD_S = 3.0  # of a learner that is away, or has just answered: three heartbeats
PATIENCE_S = 60.0  # for a learner that is there and makes no progress; one update takes seconds


class StatusLink(Protocol):
    """The part of wire.link.Link that is needed."""

    @property
    def status(self) -> LinkStatus:
        """What the link knows about the learner."""


class CatchUp:
    """Called between two control steps; returns when the learner has caught up or is gone.

    The actor's own steps that the learner cannot know of are added to what it said last.
    """

    def __init__(
        self,
        link: StatusLink,
        *,
        stop: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._link, self._stop, self._now, self._sleep = link, stop, now, sleep
        self._heard: Mapping[str, float] = {}
        self._steps_since = 0
        self._silent: bool | None = None  # was it connected, when it began to be silent?
        self._due_s = 0.0
        self._recent_s: deque[float] = deque()  # when the newest steps ended

    def _in_transit(self) -> int:
        """Steps so new that the learner, when it spoke, may not have had their rows."""
        since_s = self._now() - TRANSIT_S
        while self._recent_s and self._recent_s[0] < since_s:
            self._recent_s.popleft()
        return len(self._recent_s)

    def _waits_for_word(self, connected: bool) -> bool:
        """True while a learner that is away, or has just answered, may still say how far it is."""
        if connected is not self._silent:
            self._silent, self._due_s = connected, self._now() + FIRST_WORD_S
        return self._now() < self._due_s

    def __call__(self) -> None:
        """One control step is over."""
        self._steps_since += 1
        self._recent_s.append(self._now())
        progress_s, before = self._now(), None
        while not self._stop():
            status = self._link.status
            if not status.connected or ROWS_AHEAD not in status.learner_stats:
                if not self._waits_for_word(status.connected):
                    return
                self._sleep(NAP_S)
                continue
            self._silent = None  # the next silence is waited out again
            if status.learner_stats is not self._heard:
                self._heard, self._steps_since = status.learner_stats, self._in_transit()
            ahead = self._heard[ROWS_AHEAD]
            if ahead + self._steps_since <= SLACK_ROWS:
                return
            if ahead != before:
                progress_s, before = self._now(), ahead
            elif self._now() - progress_s > PATIENCE_S:
                log.warning(
                    "the learner is %.0f rows behind and made no progress for %.0f s; going on "
                    "without waiting. Its log says what keeps it.",
                    ahead,
                    PATIENCE_S,
                )
                self._steps_since = -SLACK_ROWS
                return
            self._sleep(NAP_S)
