"""What the archive remembers of a session beyond its rows: how far it got, and what was missing.

A segment begins with the marks of all sessions so far, so that evicting older segments loses none.
From there on each chunk record is its own mark: data and high-water mark are one record, written in
one piece or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from daydreamer.replay.continuity import StreamEnd
from daydreamer.wire.headers import WireError, check_count, read_columns, write_columns
from daydreamer.wire.rows import Chunk, Schema

FORMAT = 1  # of the archive; raise it when a segment's content changes meaning


@dataclass(frozen=True)
class SessionMark:
    """Everything ever stored of one session, evicted rows included."""

    actor: str
    end: StreamEnd  # end.sequence is the high-water mark
    rows: int
    chunks: int
    gaps: int  # places where rows of the session are missing
    first_time_s: float  # the body's clock
    last_time_s: float

    @classmethod
    def begin(cls, chunk: Chunk) -> SessionMark:
        """The mark of a session whose first stored chunk is `chunk`."""
        times = chunk.columns["time_s"]
        gaps = 0 if chunk.sequence == 0 else 1
        end = StreamEnd.after(chunk)
        return cls(chunk.actor, end, len(chunk), 1, gaps, float(times[0]), float(times[-1]))

    def then(self, chunk: Chunk) -> SessionMark:
        """The mark after one more chunk."""
        return SessionMark(
            actor=self.actor,
            end=StreamEnd.after(chunk),
            rows=self.rows + len(chunk),
            chunks=self.chunks + 1,
            gaps=self.gaps + (not self.end.continued_by(chunk)),
            first_time_s=self.first_time_s,
            last_time_s=float(chunk.columns["time_s"][-1]),
        )


@dataclass(frozen=True)
class Marks:
    """First record of a segment."""

    segment: int
    run: str
    schema: Schema
    duplicates_dropped: int
    sessions: Mapping[str, SessionMark] = field(default_factory=dict)


@dataclass(frozen=True)
class Counters:
    """Record of what changed since the segment began and is not in any chunk."""

    duplicates_dropped: int


def encode_marks(marks: Marks) -> list[bytes]:
    """Frames of a marks record: one, which no chunk has."""
    message = {
        "type": "marks",
        "format": FORMAT,
        "segment": marks.segment,
        "run": marks.run,
        "columns": write_columns(marks.schema),
        "duplicates_dropped": marks.duplicates_dropped,
        "sessions": {
            session: {
                "actor": mark.actor,
                "sequence": mark.end.sequence,
                "episode": mark.end.episode,
                "next_row": mark.end.next_row,
                "ended": mark.end.ended,
                "rows": mark.rows,
                "chunks": mark.chunks,
                "gaps": mark.gaps,
                "first_time_s": mark.first_time_s,
                "last_time_s": mark.last_time_s,
            }
            for session, mark in marks.sessions.items()
        },
    }
    return [msgpack.packb(message)]


def encode_counters(counters: Counters) -> list[bytes]:
    """Frames of a counters record: one, which no chunk has."""
    return [msgpack.packb({"type": "counters", "duplicates_dropped": counters.duplicates_dropped})]


def decode_mark_record(frame: bytes) -> Marks | Counters:
    """What a record of one frame says. Raises WireError."""
    try:
        message = msgpack.unpackb(frame, raw=False, strict_map_key=True)
        if message["type"] == "counters":
            return Counters(check_count(message["duplicates_dropped"], "duplicates_dropped"))
        if message["type"] != "marks" or message["format"] != FORMAT:
            found = f"{message['type']!r}, format {message.get('format')!r}"
            raise WireError(f"record is {found}, expected 'marks', format {FORMAT}")
        return Marks(
            segment=check_count(message["segment"], "segment"),
            run=str(message["run"]),
            schema=read_columns(message["columns"]),
            duplicates_dropped=check_count(message["duplicates_dropped"], "duplicates_dropped"),
            sessions={name: _mark(value) for name, value in message["sessions"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError, msgpack.UnpackException) as error:
        if isinstance(error, WireError):
            raise
        raise WireError(f"marks cannot be read ({type(error).__name__}: {error})") from error


def _mark(value: Mapping[str, Any]) -> SessionMark:
    return SessionMark(
        actor=str(value["actor"]),
        end=StreamEnd(
            sequence=check_count(value["sequence"], "sequence"),
            episode=check_count(value["episode"], "episode"),
            next_row=check_count(value["next_row"], "next_row"),
            ended=bool(value["ended"]),
        ),
        rows=check_count(value["rows"], "rows"),
        chunks=check_count(value["chunks"], "chunks"),
        gaps=check_count(value["gaps"], "gaps"),
        first_time_s=float(value["first_time_s"]),
        last_time_s=float(value["last_time_s"]),
    )
