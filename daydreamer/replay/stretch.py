"""Stretches: unbroken runs of one session's rows, as lists of slots in the replay rings."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


class IntQueue:
    """A first-in first-out queue of integers whose content is one contiguous array."""

    def __init__(self) -> None:
        self._data: Ints = np.empty(256, np.int64)
        self._head = self._tail = 0

    def __len__(self) -> int:
        return self._tail - self._head

    @property
    def values(self) -> Ints:
        """A view of the content, oldest first; valid until the next push."""
        return self._data[self._head : self._tail]

    def push(self, values: NDArray[Any]) -> None:
        """Append integers, (n,). Amortised constant time each."""
        if self._tail + len(values) > len(self._data):
            held = self.values
            # Twice what is needed, so that moving the content stays rare as it grows or slides.
            self._data = np.empty(2 * (len(held) + len(values)), np.int64)
            self._data[: len(held)] = held
            self._head, self._tail = 0, len(held)
        self._data[self._tail : self._tail + len(values)] = values
        self._tail += len(values)

    def pop(self, n: int) -> None:
        """Forget the n oldest."""
        self._head += n


class Stretch:
    """Rows that follow one another without a break, possibly over several episodes.

    Rows are counted from 0 at the stretch's birth; eviction takes them from the front.
    `key` orders stretches by (session, sequence at birth, piece of that chunk), which does not
    depend on what was evicted or on how sessions interleaved.
    """

    def __init__(self, key: tuple[str, int, int]) -> None:
        self.key = key
        self._slots = IntQueue()
        self._episodes = IntQueue()  # rows at which an episode begins, counted from birth
        self._evicted = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def slots(self) -> Ints:
        """(n,) ring slots of the rows held, oldest first."""
        return self._slots.values

    def extend(self, slots: NDArray[Any], begins: NDArray[Any]) -> None:
        """Append rows. slots: (n,); begins: (n,) bool, True where a row begins an episode."""
        born = self._evicted + len(self)
        if len(self) == 0 or bool(begins[0]):
            self._episodes.push(np.array([born]))
        self._episodes.push(born + 1 + np.flatnonzero(begins[1:]))
        self._slots.push(slots)

    def evict(self, n: int) -> None:
        """Forget the n oldest rows."""
        self._slots.pop(n)
        self._evicted += n
        # The newest begin at or before the first row held stays: that episode has lost its head.
        gone = int(np.searchsorted(self._episodes.values, self._evicted, side="right")) - 1
        self._episodes.pop(max(0, gone))

    def episodes(self) -> tuple[Ints, Ints]:
        """(begin, length), each (episodes,), of what is held; begin indexes `slots`."""
        if len(self) == 0:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        begin = np.maximum(self._episodes.values - self._evicted, 0)
        return begin, np.diff(begin, append=len(self))
