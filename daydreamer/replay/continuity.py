"""Whether a chunk goes on exactly where its session's rows ended.

One rule, used by the sampler (a window never crosses a break) and by the archive (it is a gap).
"""

from __future__ import annotations

from dataclasses import dataclass

from daydreamer.wire.rows import Chunk


@dataclass(frozen=True)
class StreamEnd:
    """The end of a session's rows so far, as much of it as the next chunk has to agree with."""

    sequence: int  # of the last chunk
    episode: int  # that the last row belongs to
    next_row: int  # rows of that episode so far
    ended: bool  # the last row has is_last

    @classmethod
    def after(cls, chunk: Chunk) -> StreamEnd:
        """The end of a stream whose newest chunk is `chunk`."""
        return cls(
            sequence=chunk.sequence,
            episode=chunk.episode,
            next_row=chunk.first_row + len(chunk),
            ended=bool(chunk.columns["is_last"][-1]),
        )

    def continued_by(self, chunk: Chunk) -> bool:
        """True if no row is missing between this end and the first row of `chunk`.

        An episode may be cut short without is_last (the task was stopped): its successor still
        follows on, because is_first marks the border.
        """
        if chunk.sequence != self.sequence + 1:
            return False
        is_first = bool(chunk.columns["is_first"][0])
        if chunk.first_row == 0 and is_first:
            return True
        same_episode = chunk.episode == self.episode and chunk.first_row == self.next_row
        return same_episode and (is_first or not self.ended)
