"""Newer rows more often: windows drawn by age, whoever collected them (docs/decisions/0063).

# blocks     windows in runs of BLOCK neighbours, newest first by the arrival of their last row
# rank       0 ........ total - 1        a window's place in that order
# drawn      rank = total * u^recency    u uniform: 1 draws all alike; at 2 the newest quarter gets
                                         half of the draws, at 3 the newest eighth does
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daydreamer.replay.stretch import Ints, Stretch

BLOCK = 32  # windows that count as equally old


class ByAge:
    """All windows of one length in the order of their age, to the precision of a block."""

    def __init__(
        self,
        stretches: Sequence[Stretch],
        where: Ints,
        begin: Ints,
        windows: Ints,
        length: int,
        *,
        next_slot: int,
        capacity_rows: int,
    ) -> None:
        """where, begin, windows (units,): stretch, first row and number of windows of each unit.

        next_slot: of the ring of capacity_rows in which rows lie as they arrived.
        """
        blocks = -(-windows // BLOCK)
        unit = np.repeat(np.arange(len(where)), blocks)
        number = np.arange(len(unit)) - np.repeat(np.cumsum(blocks) - blocks, blocks)
        self.offset: Ints = begin[unit] + number * BLOCK  # (blocks,) first window of each
        self.where: Ints = where[unit]
        size = np.minimum(BLOCK, windows[unit] - number * BLOCK)
        end = self.offset + size + length - 2  # last row of the last window
        slot = np.empty(len(unit), np.int64)
        for index in np.unique(self.where).tolist():
            own = self.where == index
            slot[own] = stretches[index].slots[end[own]]
        age = (next_slot - 1 - slot) % capacity_rows
        order = np.argsort(age, kind="stable")
        self.where, self.offset = self.where[order], self.offset[order]
        self._size = size[order]
        self._upto = np.cumsum(self._size)
        self.total = int(self._upto[-1])

    def draw(self, rng: np.random.Generator, batch: int, recency: float) -> tuple[Ints, Ints]:
        """(stretch index, first row in that stretch), each (batch,)."""
        rank = (self.total * rng.random(batch) ** recency).astype(np.int64)
        rank = np.minimum(rank, self.total - 1)  # a rounding above it would be no window
        block = np.searchsorted(self._upto, rank, side="right")
        newest = self.offset[block] + self._size[block] - 1
        return self.where[block], newest - (rank - (self._upto[block] - self._size[block]))
