"""Which chunk to send next: a window over the journal, one send cursor for each session.

    # sequence  0 1 2 3 | 4 5 6 7 | 8 9 10
    #           stored    in flight  waiting
    #                  ^mark     ^cursor

Nothing here touches a socket. Acknowledgements are cumulative; after a lost link, a silence or a
gap the cursor goes back to the mark and everything from there is sent again, in order.
"""

from __future__ import annotations

from collections.abc import Mapping

from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.journal import Journal
from daydreamer.wire.messages import ChunkMessage, Lost
from daydreamer.wire.rows import Chunk, Schema


class Outbox:
    """The journal's chunks on their way. Used by the link's thread only."""

    def __init__(self, journal: Journal, schema: Schema, max_in_flight: int) -> None:
        self.journal = journal
        self.sent = 0  # chunk messages, repeated ones included
        self.stored = 0  # chunks that the learner has confirmed
        self._schema = schema
        self._max_in_flight = max_in_flight
        self._marks: dict[str, int] = {}  # newest stored sequence, as the learner last said
        self._cursors: dict[str, int] = {}  # newest sequence sent since the last rewind
        self._in_flight: set[tuple[str, int]] = set()
        self._fresh: dict[tuple[str, int], list[bytes]] = {}  # just journalled: saves reading back
        self._next: tuple[str, int, ChunkMessage | Lost] | None = None

    @property
    def in_flight(self) -> int:
        """Chunks sent and not yet acknowledged."""
        return len(self._in_flight)

    def add(self, chunk: Chunk) -> None:
        """Write a chunk to the journal. Raises WireError (malformed) and OSError (the disk)."""
        frames = encode_chunk(chunk, self._schema)
        self.journal.append_frames(chunk.session, chunk.sequence, frames)
        if len(self._fresh) < self._max_in_flight:
            self._fresh[chunk.session, chunk.sequence] = frames

    def peek(self) -> ChunkMessage | Lost | None:
        """The next message to send, None when the window is full or the journal is empty."""
        if self._next is None and len(self._in_flight) < self._max_in_flight:
            self._next = self._find()
        return None if self._next is None else self._next[2]

    def advance(self) -> None:
        """The message that `peek` returned has left."""
        if self._next is None:
            raise RuntimeError("advance() without a message from peek()")
        session, sequence, message = self._next
        self._next = None
        self._cursors[session] = sequence
        if isinstance(message, ChunkMessage):
            self._in_flight.add((session, sequence))
            self.sent += 1

    def welcome(self, high_water: Mapping[str, int]) -> None:
        """A new conversation: forget what is stored, send the rest from the start."""
        for session, sequence in high_water.items():
            self._marks[session] = sequence  # may be lower than before: a learner started afresh
            self._drop_stale(session, sequence)
            self.stored += self.journal.forget(session, sequence)
        self.rewind()

    def acked(self, session: str, through: int) -> bool:
        """Forget the session's chunks through a sequence. True when that was news."""
        news = through > self._marks.get(session, -1)
        self._marks[session] = max(through, self._marks.get(session, -1))
        self._in_flight = {key for key in self._in_flight if key[0] != session or key[1] > through}
        self._drop_stale(session, through)
        self.stored += self.journal.forget(session, through)
        return news

    def refused(self, session: str, sequence: int) -> bool:
        """Move a chunk aside that the learner will never accept. False when it is unknown."""
        self._in_flight.discard((session, sequence))
        self._drop_stale(session, -1)
        return self.journal.refuse(session, sequence)

    def rewind(self) -> None:
        """Send everything beyond the learner's marks again."""
        self._in_flight.clear()
        self._cursors.clear()
        self._next = None

    def _find(self) -> tuple[str, int, ChunkMessage | Lost] | None:
        for session in self.journal.sessions():
            known = (self._cursors.get(session), self._marks.get(session))
            after = max((mark for mark in known if mark is not None), default=None)
            while (sequence := self._following(session, after)) is not None:
                if after is not None and sequence > after + 1:
                    # Dropped, damaged or refused chunks leave a hole. Saying so lets the learner
                    # tell a hole from a message that is late, and take what comes after it.
                    return session, sequence - 1, Lost(session, after + 1, sequence - 1)
                frames = self._fresh.pop((session, sequence), None)
                frames = frames or self.journal.load(session, sequence)
                if frames is not None:
                    return session, sequence, ChunkMessage(tuple(frames))
        return None

    def _following(self, session: str, after: int | None) -> int | None:
        return self.journal.next_after(session, -1 if after is None else after)

    def _drop_stale(self, session: str, through: int) -> None:
        """A message found earlier may be outdated by news about its session."""
        if self._next is not None and self._next[0] == session:
            self._next = None
        for key in [key for key in self._fresh if key[0] == session and key[1] <= through]:
            del self._fresh[key]
