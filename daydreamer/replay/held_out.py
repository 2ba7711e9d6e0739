"""Episodes kept out of training, to look at what was learned (docs/decisions/0060-held-out.md).

# every = 20    episodes 0 .. 9 | 10 | 11 .. 29 | 30 | ...     10, 30, ... of each session stay out,
#               with the chunks that begin in their first 1,000 rows: some episodes never end
# windows       rows   0 .. 20 | 21 .. 75 | 76 .. 130    an episode of 131 rows, cut from its end
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daydreamer.replay.continuity import StreamEnd
from daydreamer.wire.rows import Array, Chunk

CAPACITY_ROWS = 16_384  # 16 episodes of 1,000 steps
EPISODE_ROWS = 1_000  # of one episode; what follows is trained on
SPREAD_ROWS = 512  # from which the spread of a column is estimated


class HeldOutWindows(NamedTuple):
    """N windows of up to T rows; rows behind the end of a shorter one are zero."""

    columns: Mapping[str, Array]  # (N, T, *shape); is_first is True in each window's first row
    length: NDArray[np.int64]  # (N,)


class HeldOut:
    """The newest rows of every `every`-th episode. Safe to use from several threads.

    Whether a chunk is held out depends on its episode's number within its session and on its place
    there alone, so that a restart refills training memory and this one with what the archive has.
    """

    def __init__(self, every: int, capacity_rows: int = CAPACITY_ROWS) -> None:
        """every: 0 holds nothing out, else at least 2."""
        if every < 0 or every == 1:
            raise ValueError(f"every {every}th episode: expected 0 for none, or 2 and more")
        self.every, self.capacity_rows = every, capacity_rows
        self._pieces: list[deque[Chunk]] = []  # unbroken parts of episodes, oldest first
        self._arrivals: deque[deque[Chunk]] = deque()  # the piece of each chunk, as they came
        self._streams: dict[str, tuple[deque[Chunk], StreamEnd]] = {}  # newest piece of a session
        self._rows = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._rows

    def wants(self, chunk: Chunk) -> bool:
        """Whether a chunk belongs here and not into the training memory."""
        return (
            self.every > 0
            and chunk.episode % self.every == self.every // 2
            and chunk.first_row < EPISODE_ROWS
        )

    def add(self, chunk: Chunk) -> bool:
        """Keep a chunk, dropping those that came first. False if the session is past it."""
        with self._lock:
            stream = self._streams.get(chunk.session)
            if stream is not None and chunk.sequence <= stream[1].sequence:
                return False
            if (
                stream is not None
                and stream[0]
                and chunk.first_row
                and stream[1].continued_by(chunk)
            ):
                piece = stream[0]
            else:
                piece = deque()
                self._pieces.append(piece)
            piece.append(chunk)
            self._arrivals.append(piece)
            self._streams[chunk.session] = (piece, StreamEnd.after(chunk))
            self._rows += len(chunk)
            while self._rows > self.capacity_rows and self._rows > len(chunk):
                self._evict()
        return True

    def windows(self, count: int, most: int, least: int) -> HeldOutWindows | None:
        """Up to `count` windows of `least` to `most` rows, from the newest episodes; None: no such.

        They do not overlap; the first is the end of the newest episode, the last may be its start.
        """
        found: list[dict[str, Array]] = []
        for piece in reversed(self._snapshot()):
            columns = _joined(piece)
            end = len(columns["reward"])
            while end >= least and len(found) < count:
                begin = max(0, end - most)
                found.append({name: x[begin:end] for name, x in columns.items()})
                end = begin
            if len(found) == count:
                break
        if not found:
            return None
        length = np.array([len(window["reward"]) for window in found])
        columns = {}
        for name, like in found[0].items():
            columns[name] = np.zeros((len(found), most, *like.shape[1:]), like.dtype)
            for row, window in zip(columns[name], found, strict=True):
                row[: len(window[name])] = window[name]
        columns["is_first"][:, 0] = True  # what came before a window is unknown
        return HeldOutWindows(columns, length)

    def spread(self, name: str) -> float:
        """Variance of a column over the rows held, mean over its dimensions; 0 if there are none.

        From SPREAD_ROWS rows at most, evenly spaced. First rows are left out: nobody earned their
        reward of 0.
        """
        chunks = [chunk for piece in self._snapshot() for chunk in piece]
        rows = sum(map(len, chunks))
        if not rows:
            return 0.0
        step = -(-rows // SPREAD_ROWS)
        parts, skip = [], 0
        for chunk in chunks:
            earned = ~chunk.columns["is_first"][skip::step]
            parts.append(chunk.columns[name][skip::step][earned])
            skip = (skip - len(chunk)) % step
        values = np.concatenate(parts).astype(np.float64)
        return float(values.var(axis=0).mean()) if len(values) else 0.0

    def _snapshot(self) -> list[list[Chunk]]:
        with self._lock:
            return [list(piece) for piece in self._pieces]

    def _evict(self) -> None:
        self._rows -= len(self._arrivals.popleft().popleft())
        self._pieces = [piece for piece in self._pieces if piece]


def _joined(piece: list[Chunk]) -> dict[str, Array]:
    return {
        name: np.concatenate([chunk.columns[name] for chunk in piece]) for name in piece[0].columns
    }
