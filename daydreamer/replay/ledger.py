"""The archive's account: which sessions got how far, which segment holds how many of their rows.

Built by reading records in order, kept up by appending: the same code counts in both cases, so a
duplicate that reached the disk in whatever way is counted when the archive is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from daydreamer.replay.marks import Counters, Marks, SessionMark
from daydreamer.wire.rows import Chunk, Schema


@dataclass
class SegmentTally:
    """What one segment holds."""

    number: int
    size_bytes: int = 0
    rows: Counter[str] = field(default_factory=Counter)  # per session
    chunks: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class SessionSummary:
    """One session. `rows` and `chunks` are stored now; the rest covers evicted rows too."""

    actor: str
    rows: int
    chunks: int
    rows_ever: int
    episodes: int  # begun so far
    gaps: int
    first_time_s: float
    last_time_s: float


@dataclass(frozen=True)
class ArchiveSummary:
    """What `daydreamer info` says of an archive."""

    rows: int  # stored now
    chunks: int  # stored now
    rows_ever: int  # evicted ones included
    gaps: int  # places where rows of a session are missing
    duplicates_dropped: int  # chunks that came again and were not stored again
    duplicates_stored: int  # chunks found twice on the disk: 0 unless something is broken
    bytes: int
    segments: int
    sessions: Mapping[str, SessionSummary]


class Ledger:
    """Running account of an archive."""

    def __init__(self) -> None:
        self.run: str | None = None
        self.schema: Schema | None = None
        self.segments: list[SegmentTally] = []
        self.sessions: dict[str, SessionMark] = {}
        self.duplicates_dropped = 0
        self.duplicates_stored = 0

    def high_water(self, session: str) -> int:
        """Sequence of the session's newest chunk, -1 if there is none."""
        mark = self.sessions.get(session)
        return -1 if mark is None else mark.end.sequence

    @property
    def rows(self) -> int:
        """Rows stored now."""
        return sum(segment.rows.total() for segment in self.segments)

    def note(self, record: Marks | Counters | Chunk) -> None:
        """Account for the next record of the newest segment; a Marks record begins a new one."""
        if isinstance(record, Marks):
            self._begin_segment(record)
        elif isinstance(record, Counters):
            self.duplicates_dropped = max(self.duplicates_dropped, record.duplicates_dropped)
        else:
            self._note_chunk(record)

    def marks(self, segment: int) -> Marks:
        """The marks a new segment begins with. Only after a first Marks record was noted."""
        assert self.run is not None
        assert self.schema is not None
        return Marks(segment, self.run, self.schema, self.duplicates_dropped, dict(self.sessions))

    def summary(self) -> ArchiveSummary:
        """A snapshot."""
        rows: Counter[str] = Counter()
        chunks: Counter[str] = Counter()
        for segment in self.segments:
            rows.update(segment.rows)
            chunks.update(segment.chunks)
        return ArchiveSummary(
            rows=rows.total(),
            chunks=chunks.total(),
            rows_ever=sum(mark.rows for mark in self.sessions.values()),
            gaps=sum(mark.gaps for mark in self.sessions.values()),
            duplicates_dropped=self.duplicates_dropped,
            duplicates_stored=self.duplicates_stored,
            bytes=sum(segment.size_bytes for segment in self.segments),
            segments=len(self.segments),
            sessions={
                session: SessionSummary(
                    mark.actor,
                    rows[session],
                    chunks[session],
                    mark.rows,
                    mark.end.episode + 1,
                    mark.gaps,
                    mark.first_time_s,
                    mark.last_time_s,
                )
                for session, mark in sorted(self.sessions.items())
            },
        )

    def _begin_segment(self, marks: Marks) -> None:
        for session, mark in marks.sessions.items():
            known = self.sessions.get(session)
            if known is None and not self.segments:
                self.sessions[session] = mark  # its older rows were evicted in good order
            elif known is None or mark.end.sequence > known.end.sequence:
                # Chunks were stored when this segment began that are no longer before it: damage
                # was repaired by leaving them out. They stay known, so that the actor, which has
                # forgotten them, is not asked for them again.
                gaps = max(mark.gaps, 0 if known is None else known.gaps) + 1
                self.sessions[session] = replace(mark, gaps=gaps)
        self.run, self.schema = marks.run, marks.schema
        self.duplicates_dropped = max(self.duplicates_dropped, marks.duplicates_dropped)
        self.segments.append(SegmentTally(marks.segment))

    def _note_chunk(self, chunk: Chunk) -> None:
        tally = self.segments[-1]
        tally.rows[chunk.session] += len(chunk)
        tally.chunks[chunk.session] += 1
        mark = self.sessions.get(chunk.session)
        if mark is None:
            self.sessions[chunk.session] = SessionMark.begin(chunk)
        elif chunk.sequence <= mark.end.sequence:
            # Chunks are stored in order of sequence, so this pair has been here before.
            self.duplicates_stored += 1
        else:
            self.sessions[chunk.session] = mark.then(chunk)
