"""The replay memory: rows in preallocated rings, sampled as contiguous (B, T) windows.

# rings     one array a column, (capacity, *shape); chunks take the next slots as they arrive,
#           whoever sent them, and the oldest chunks make room
# stretch   session a:  3 4 5 | 9 10 11 ...   slots of rows that follow one another
#           session b:  6 7 8 | 12 13 ...     a gap or a new session begins a new stretch
# window    T neighbours in a stretch's list of slots, gathered from every ring at once
"""

from __future__ import annotations

import bisect
import threading
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from daydreamer.replay.continuity import StreamEnd
from daydreamer.replay.recency import ByAge
from daydreamer.replay.stretch import Stretch
from daydreamer.replay.windows import Windows
from daydreamer.wire.rows import Array, Chunk, Schema


class SequenceReplay:
    """The newest rows of all actors, sampled as windows. Safe to use from several threads.

    A window lies in one session and has no row missing inside. By default it may run over the end
    of an episode into the next, whose first row has is_first. Starts are drawn uniformly from all
    windows there are. Sampling depends only on the generator and on the chunks held, not on how
    sessions interleaved (but for what recency makes of their age) or on what was evicted, so that a
    memory refilled from the archive draws the same windows.

    Args:
        schema: columns of a row.
        capacity_rows: rows held at most; the oldest chunks are dropped first.
        cross_episodes: False keeps every window within one episode.
        ends_bonus: draw an episode uniformly (of those with at least `length` rows), then a start
            from {0 .. L} clipped to L - length, so that the last window has probability
            (length + 1) / (L + 1) and endings are seen often. Windows then stay within one episode,
            whatever cross_episodes says; a running episode counts with the rows it has so far.
        recency: above 1, newer windows are drawn more often (recency.py). Not with ends_bonus.
    """

    def __init__(
        self,
        schema: Schema,
        capacity_rows: int,
        *,
        cross_episodes: bool = True,
        ends_bonus: bool = False,
        recency: float = 1.0,
    ) -> None:
        if capacity_rows < 1:
            raise ValueError(f"replay capacity is {capacity_rows} rows: expected at least 1")
        if recency < 1 or (recency > 1 and ends_bonus):
            raise ValueError(
                f"recency is {recency}: expected at least 1, and 1 with ends_bonus={ends_bonus}"
            )
        self.capacity_rows, self._recency = capacity_rows, recency
        self._ends_bonus = ends_bonus
        self._split_episodes = ends_bonus or not cross_episodes
        # Pages of a zeroed ring cost memory only once rows are written to them.
        self._rings: dict[str, Array] = {
            name: np.zeros((capacity_rows, *column.shape), column.dtype)
            for name, column in schema.items()
        }
        self._default_columns = tuple(name for name in schema if not name.startswith("log_"))
        self._rows = 0  # of the arrivals
        self._next_slot = 0
        # (where, rows), oldest first; nowhere: rows passed over
        self._arrivals: deque[tuple[Stretch | None, int]] = deque()
        self._stretches: list[Stretch] = []  # sorted by key
        self._streams: dict[str, tuple[Stretch, StreamEnd]] = {}  # newest stretch of a session
        self._windows_cache: dict[int, Windows] = {}
        self._by_age_cache: dict[int, ByAge] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._stretches))

    def add(self, chunk: Chunk) -> bool:
        """Store a chunk's rows, dropping the oldest chunks if it would not fit.

        Chunks of a session arrive in order of sequence. Returns False, and changes nothing, if the
        session's stream is already past this sequence. Raises ValueError if the columns are not
        those of the schema or if the chunk alone exceeds the capacity.
        """
        n = len(chunk)
        if set(chunk.columns) != set(self._rings):
            raise ValueError(
                f"chunk {chunk.sequence} of session {chunk.session} and the schema differ in "
                f"the columns {sorted(set(chunk.columns) ^ set(self._rings))}"
            )
        if n > self.capacity_rows:
            raise ValueError(
                f"chunk of {n} rows does not fit a replay of {self.capacity_rows}: raise "
                "learner.capacity_rows or lower actor.chunk_rows"
            )
        with self._lock:
            stream = self._streams.get(chunk.session)
            if stream is not None and chunk.sequence <= stream[1].sequence:
                return False
            self._make_room(n)
            begin, before_wrap = self._next_slot, min(n, self.capacity_rows - self._next_slot)
            for name, ring in self._rings.items():
                column = chunk.columns[name]
                ring[begin : begin + before_wrap] = column[:before_wrap]
                ring[: n - before_wrap] = column[before_wrap:]
            slots = np.arange(begin, begin + n) % self.capacity_rows
            self._next_slot = (begin + n) % self.capacity_rows
            self._link(chunk, slots, stream)
            self._rows += n
            self._forget_windows()
        return True

    def pass_over(self, rows: int) -> None:
        """Make room as for a chunk of so many rows that is kept elsewhere.

        What is held stays the newest capacity_rows collected, as an archive of them has it.
        """
        rows = min(rows, self.capacity_rows)
        with self._lock:
            self._make_room(rows)
            self._next_slot = (self._next_slot + rows) % self.capacity_rows
            self._arrivals.append((None, rows))
            self._rows += rows
            self._forget_windows()

    def can_sample(self, length: int) -> bool:
        """True if there is at least one window of `length` rows."""
        with self._lock:
            return self._windows(length).total > 0

    def sample(
        self,
        rng: np.random.Generator,
        batch: int,
        length: int,
        columns: Sequence[str] | None = None,
    ) -> dict[str, Array]:
        """Draw windows, with replacement. Returns {column: (batch, length, *shape)}, fresh arrays.

        is_first[:, 0] is True: what came before a window is unknown to whoever trains on it.
        columns: names to return; by default all but log_*. Raises ValueError while no window is
        long enough: ask can_sample first.
        """
        names = self._default_columns if columns is None else columns
        with self._lock:
            windows = self._windows(length)
            if windows.total == 0:
                raise ValueError(
                    f"no window of {length} rows among {sum(map(len, self._stretches))} rows held: "
                    "collect more, or lower learner.length"
                )
            if self._recency > 1:
                wheres, starts = self._by_age(length, windows).draw(rng, batch, self._recency)
            else:
                wheres, starts = windows.draw(rng, batch, self._ends_bonus)
            index = np.empty((batch, length), np.int64)
            pairs = zip(wheres.tolist(), starts.tolist(), strict=True)
            for row, (where, begin) in enumerate(pairs):
                index[row] = self._stretches[where].slots[begin : begin + length]
            out = {name: self._rings[name].take(index, axis=0) for name in names}
        if "is_first" in out:
            out["is_first"][:, 0] = True
        return out

    def _link(self, chunk: Chunk, slots: Array, stream: tuple[Stretch, StreamEnd] | None) -> None:
        """Append rows to the session's stretch, or to new ones where they do not follow on."""
        is_first = np.asarray(chunk.columns["is_first"], bool)
        is_last = np.asarray(chunk.columns["is_last"], bool)
        # An ending inside a chunk whose successor is unmarked hides a reset: break there too.
        breaks = 1 + np.flatnonzero(is_last[:-1] & ~is_first[1:])
        bounds = [0, *breaks.tolist(), len(chunk)]
        stretch = stream[0] if stream is not None and stream[1].continued_by(chunk) else None
        if stretch is None and stream is not None and len(stream[0]) == 0:
            self._stretches.remove(stream[0])  # evicted to the end, and nothing will follow on
        for piece, (low, high) in enumerate(pairwise(bounds)):
            if stretch is None or piece > 0:
                stretch = Stretch((chunk.session, chunk.sequence, piece))
                bisect.insort(self._stretches, stretch, key=lambda s: s.key)
            stretch.extend(slots[low:high], is_first[low:high])
            self._arrivals.append((stretch, high - low))
            self._streams[chunk.session] = (stretch, StreamEnd.after(chunk))

    def _make_room(self, rows: int) -> None:
        while self._rows + rows > self.capacity_rows:
            self._evict()

    def _evict(self) -> None:
        """Drop the oldest arrival."""
        stretch, rows = self._arrivals.popleft()
        self._rows -= rows
        if stretch is None:
            return
        stretch.evict(rows)
        live = (newest for newest, _ in self._streams.values())
        if len(stretch) == 0 and all(stretch is not newest for newest in live):
            self._stretches.remove(stretch)

    def _windows(self, length: int) -> Windows:
        """Where windows of this length may start, remembered until the next chunk."""
        if length < 1:
            raise ValueError(f"window length is {length}: expected at least 1")
        if length not in self._windows_cache:
            self._windows_cache[length] = Windows(
                self._stretches, length, split_episodes=self._split_episodes
            )
        return self._windows_cache[length]

    def _by_age(self, length: int, windows: Windows) -> ByAge:
        if length not in self._by_age_cache:
            self._by_age_cache[length] = ByAge(
                self._stretches,
                windows.where,
                windows.begin,
                windows.size - length + 1,
                length,
                next_slot=self._next_slot,
                capacity_rows=self.capacity_rows,
            )
        return self._by_age_cache[length]

    def _forget_windows(self) -> None:
        self._windows_cache.clear()
        self._by_age_cache.clear()
