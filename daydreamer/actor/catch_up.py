"""A twin that waits for its learner. A robot never does.

A twin can run a hundred times faster than a learner trains; its rows would then be those of a
policy that had no chance to learn from them. So where the control loop is not paced by real time,
it is paced by the replay ratio: at most SLACK_ROWS ahead of what the updates have paid for. A
learner that goes away is waited for a little; then the twin goes on alone, into its journal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from daydreamer.wire.link import LinkStatus
from daydreamer.wire.messages import ROWS_AHEAD, ROWS_STORED

log = logging.getLogger(__name__)

SLACK_ROWS = 64  # about three seconds of an A1
NAP_S = 0.01
ASK_S = 0.1  # while it waits, the learner is asked so often how far it is
FIRST_WORD_S = 3.0  # of a learner that is away, or has just answered: three heartbeats
PATIENCE_S = 60.0  # for a learner that is there and makes no progress; one update takes seconds


class StatusLink(Protocol):
    """The part of wire.link.Link that is needed."""

    @property
    def status(self) -> LinkStatus:
        """What the link knows about the learner."""

    def ask(self) -> None:
        """Have the learner say soon how far it is."""


class Rows(Protocol):
    """The part of actor.recorder.Recorder that is needed."""

    rows: int

    def send_old(self) -> None:
        """Send a chunk that is old enough."""


class CatchUp:
    """Called between two control steps; returns when the learner has caught up or is gone.

    What the learner says is `ahead` rows, of which `stored` are this session's; those that this
    session has made since, wherever they are by now, are added.
    """

    def __init__(
        self,
        link: StatusLink,
        recorder: Rows,
        *,
        stop: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._link, self._recorder = link, recorder
        self._stop, self._now, self._sleep = stop, now, sleep
        self._given_up = 0  # rows that the learner will not have: lost, or not waited for
        self._silent: bool | None = None  # was it connected, when it began to be silent?
        self._due_s = 0.0

    def __call__(self) -> None:
        """One control step is over."""
        asked_s = progress_s = self._now()
        before = None
        while not self._stop():
            status = self._link.status
            stats = status.learner_stats
            if not status.connected or ROWS_AHEAD not in stats:
                if not self._waits_for_word(status.connected):
                    return
                self._sleep(NAP_S)
                continue
            self._silent = None  # the next silence is waited out again
            ahead = stats[ROWS_AHEAD] + self._recorder.rows - stats.get(ROWS_STORED, 0.0)
            if ahead - self._given_up <= SLACK_ROWS:
                return
            now_s = self._now()
            if ahead != before:
                progress_s, before = now_s, ahead
            elif now_s - progress_s > PATIENCE_S:
                log.warning(
                    "the learner is %.0f rows behind and made no progress for %.0f s; going on "
                    "without waiting for these. Its log says what keeps it.",
                    ahead - self._given_up,
                    PATIENCE_S,
                )
                self._given_up = round(ahead)
                return
            if now_s - asked_s >= ASK_S:
                asked_s = now_s
                self._link.ask()
            self._recorder.send_old()  # no step comes that would look at a chunk's age
            self._sleep(NAP_S)

    def _waits_for_word(self, connected: bool) -> bool:
        """True while a learner that is away, or has just answered, may still say how far it is."""
        if connected is not self._silent:
            self._silent, self._due_s = connected, self._now() + FIRST_WORD_S
        return self._now() < self._due_s
