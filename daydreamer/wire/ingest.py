"""From frames to the store, exactly once: marks, gaps, duplicates, one commit for many chunks.

    # sequence = mark + 1       stored; acknowledged once committed
    # sequence <= mark          a duplicate: dropped, acknowledged again (the first Ack was lost)
    # sequence > mark + 1       a gap: not stored; the actor is asked to send from the mark again

Nothing here touches a socket.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from daydreamer.wire.codec import decode_chunk
from daydreamer.wire.headers import WireError, read_header
from daydreamer.wire.names import is_name
from daydreamer.wire.rows import Chunk, Schema

log = logging.getLogger(__name__)

STORE_RETRY_S = 1.0  # how long a store that failed is left alone


class ChunkStore(Protocol):
    """Where chunks are kept; `daydreamer.replay.archive.Archive` is one."""

    def append(self, chunk: Chunk, frames: list[bytes]) -> bool:
        """Store data and high-water mark as one; False for a duplicate, which is dropped."""

    def commit(self) -> None:
        """Return once everything appended survives a power loss."""

    def high_water(self, session: str) -> int:
        """Newest stored sequence of a session, -1 for an unknown one."""


class Outcome(Enum):
    """What became of a chunk."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    GAP = "gap"
    DEFERRED = (
        "deferred"  # the store is failing: not stored, not acknowledged, it will be sent again
    )


class Ingest:
    """Feeds one store. Used by the server's thread only."""

    def __init__(
        self, store: ChunkStore, schema: Schema, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.failure: str | None = None  # why the store does not take chunks at the moment
        self.lost = 0  # chunks that actors declared lost
        self._store = store
        self._schema = schema
        self._clock = clock
        self._failed_s = -1e9
        self._lost_through: dict[str, int] = {}  # session -> newest sequence that will never come
        self._uncommitted: list[Chunk] = []
        self.held_bytes = 0  # of the arrays of chunks that are not committed yet, images decoded

    def mark(self, session: str) -> int:
        """Newest stored sequence of a session, -1 for an unknown one."""
        return self._store.high_water(session)

    def durable_mark(self, session: str) -> int:
        """As mark(), without what is not committed yet: what an actor may forget now."""
        for chunk in self._uncommitted:
            if chunk.session == session:
                return chunk.sequence - 1
        return self.mark(session)

    def offer(self, frames: list[bytes], actor: str) -> tuple[Chunk, Outcome]:
        """Check and append a chunk. Raises WireError for a malformed one or another actor's."""
        chunk = decode_chunk(frames, self._schema)
        if chunk.actor != actor:
            raise WireError(f"chunk of actor {chunk.actor!r} found, {actor!r} expected")
        if self._clock() - self._failed_s < STORE_RETRY_S:
            return chunk, Outcome.DEFERRED
        mark = self.mark(chunk.session)
        expected = max(mark, self._lost_through.get(chunk.session, -1)) + 1
        if chunk.sequence > expected:
            return chunk, Outcome.GAP
        try:
            stored = self._store.append(chunk, frames)
        except Exception as error:  # noqa: BLE001 - any failure of any store, logged by _fail
            self._fail(error)
            return chunk, Outcome.DEFERRED
        if not stored:
            return chunk, Outcome.DUPLICATE
        self._uncommitted.append(chunk)
        self.held_bytes += sum(array.nbytes for array in chunk.columns.values())
        return chunk, Outcome.STORED

    def declare_lost(self, session: str, first: int, last: int) -> None:
        """Chunks first through last will never come: the one after them is taken next."""
        expected = max(self.mark(session), self._lost_through.get(session, -1)) + 1
        if first <= expected <= last:
            self._lost_through[session] = last
            self.lost += last - expected + 1
            log.warning(
                "session %s lost chunks %d to %d on the actor: a gap", session, expected, last
            )

    def commit(self) -> list[Chunk] | None:
        """Make all appended chunks durable and return them; None when the store failed.

        Nothing may be acknowledged after None.
        """
        if self._clock() - self._failed_s < STORE_RETRY_S:
            return None
        try:
            self._store.commit()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            return None
        if self.failure is not None:
            log.warning("the store takes chunks again")
            self.failure = None
        chunks, self._uncommitted, self.held_bytes = self._uncommitted, [], 0
        return chunks

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            log.error(
                "the store takes no chunks; actors keep them and send them again", exc_info=error
            )
        self.failure = f"{type(error).__name__}: {error}"
        self._failed_s = self._clock()


def identify(frames: list[bytes]) -> tuple[str, int] | None:
    """(session, sequence) of a chunk that did not decode, as far as its header can be read."""
    try:
        header = read_header(frames, "chunk")
    except WireError:
        return None
    session, sequence = header.get("session"), header.get("sequence")
    if not is_name(session) or not isinstance(sequence, int) or not 0 <= sequence < 2**62:
        return None
    return str(session), int(sequence)
