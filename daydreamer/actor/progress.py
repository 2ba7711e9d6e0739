"""How far the whole run is, earlier sessions included.

run = stored by the learner + waiting in this actor's journal + driven in this session
"""

from __future__ import annotations

import logging

import numpy as np

from daydreamer.wire.codec import WireError, decode_chunk
from daydreamer.wire.journal import Journal
from daydreamer.wire.link import LinkStatus

log = logging.getLogger(__name__)


class Progress:
    """Control steps towards `steps`. Exact once the learner was heard; 0 steps means no end."""

    def __init__(self, steps: int, journal: Journal) -> None:
        """journal: as it is before the link starts."""
        self._steps = steps
        self._waiting = {key: _control_steps(journal, *key) for key in journal.pending()}
        self._before = sum(self._waiting.values())
        self.is_known = False  # whether the learner's part is in it

    def heard(self, status: LinkStatus) -> bool:
        """Take the learner's part from its first Welcome; True once that was there."""
        if self.is_known or status.run is None:
            return self.is_known
        fresh = (
            n
            for (session, sequence), n in self._waiting.items()
            if sequence > status.high_water.get(session, -1)
        )
        # The learner counts rows that a control step led to, for every actor of the run.
        self._before = status.start_step_count + sum(fresh)
        self.is_known = True
        return True

    def total(self, session_steps: int) -> int:
        """Of the run, when this session has driven session_steps."""
        return self._before + session_steps

    def is_reached(self, session_steps: int) -> bool:
        """Whether the run is over."""
        return self._steps > 0 and self.total(session_steps) >= self._steps


def _control_steps(journal: Journal, session: str, sequence: int) -> int:
    """Rows of a waiting chunk that a control step led to: all but an episode's first."""
    frames = journal.load(session, sequence)
    if frames is None:
        return 0
    try:
        return int(np.sum(~decode_chunk(frames).columns["is_first"]))
    except (WireError, KeyError) as error:
        log.error("chunk %d of session %s in the journal: %s", sequence, session, error)
        return 0
