"""Rows from the archive and from the wire into the replay memory.

async      every chunk goes in as soon as it is stored, whatever the trainer does
lockstep   chunks wait in line; the trainer takes one at a time and does its updates before the next

Held-out episodes go to a memory of their own. Their rows were collected: they pay for updates too.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque

from daydreamer.replay.archive import Archive
from daydreamer.replay.held_out import HeldOut
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk

log = logging.getLogger(__name__)


class Ingest:
    """Feeds replay and limiter. The server's thread calls store(), the trainer's the rest."""

    def __init__(
        self,
        replay: SequenceReplay,
        limiter: ReplayRatioLimiter,
        *,
        in_turns: bool,
        held_out: HeldOut | None = None,
    ) -> None:
        self._replay, self._limiter, self._in_turns = replay, limiter, in_turns
        self._held_out = HeldOut(0) if held_out is None else held_out
        self._line: deque[Chunk] = deque()
        self._arrived = threading.Condition()
        self.turns: dict[str, int] = {}  # newest sequence taken of each session
        self.rows_of: Counter[str] = Counter()  # stored of each session
        self.control_steps = 0  # stored, of the whole run: every row but an episode's first

    def load(self, archive: Archive, rows_done: int) -> None:
        """Refill from the archive after a start. Call once, before the server runs.

        rows_done: rows that a lockstep run had taken by its checkpoint. Those behind it wait in
        line, so that the run goes on exactly where it was, whatever was stored since.
        """
        summary = archive.summary()
        taken = summary.rows_ever - summary.rows  # evicted
        self._limiter.rows = taken
        self.control_steps = taken
        self.rows_of.update({name: was.rows_ever for name, was in summary.sessions.items()})
        met: set[str] = set()
        for chunk in archive.chunks():
            if chunk.session not in met:
                met.add(chunk.session)
                self.control_steps -= chunk.episode + (chunk.first_row > 0)  # first rows evicted
            self._count_steps(chunk)
            if self._in_turns and taken >= rows_done:
                self._line.append(chunk)
            else:
                taken += len(chunk)
                self._take(chunk)
        for session, was in summary.sessions.items():
            if session not in met:
                self.control_steps -= was.episodes  # evicted altogether
        if taken or self._line:
            aside = f", {len(self._held_out)} of them held out" if len(self._held_out) else ""
            waiting = f", {len(self._line)} chunks to train on next" if self._line else ""
            rows = len(self._replay) + len(self._held_out)
            log.info("%d rows from the archive%s%s", rows, aside, waiting)

    def store(self, chunk: Chunk) -> None:
        """A chunk is safely on the disk: use it."""
        with self._arrived:
            self._count_steps(chunk)
            self.rows_of[chunk.session] += len(chunk)
            if self._in_turns:
                self._line.append(chunk)
            else:
                self._take(chunk)
            self._arrived.notify_all()

    def wait(self, timeout_s: float) -> None:
        """Return when a chunk arrives, or after timeout_s."""
        with self._arrived:
            self._arrived.wait(timeout_s)

    def next_turn(self, timeout_s: float) -> Chunk | None:
        """Take the next chunk in line into the memory; None when there is none for timeout_s."""
        with self._arrived:
            if not self._line:
                self._arrived.wait(timeout_s)
            if not self._line:
                return None
            chunk = self._line.popleft()
        self._take(chunk)
        return chunk

    def _count_steps(self, chunk: Chunk) -> None:
        self.control_steps += int((~chunk.columns["is_first"]).sum())

    def _take(self, chunk: Chunk) -> None:
        if self._held_out.wants(chunk):
            is_new = self._held_out.add(chunk)
            if is_new:
                self._replay.pass_over(len(chunk))
        else:
            is_new = self._replay.add(chunk)
        if is_new:
            self._limiter.rows_collected(len(chunk))
            self.turns[chunk.session] = chunk.sequence
