"""Where windows of one length may start, and how starts are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from daydreamer.replay.stretch import Ints, Stretch


class Windows:
    """All windows of one length: units (stretches or episodes) that are long enough."""

    def __init__(self, stretches: Sequence[Stretch], length: int, *, split_episodes: bool) -> None:
        wheres, begins, sizes = [], [], []
        for where, stretch in enumerate(stretches):
            if split_episodes:
                begin, size = stretch.episodes()
            else:
                begin, size = np.zeros(1, np.int64), np.array([len(stretch)])
            keep = size >= length
            wheres.append(np.full(int(keep.sum()), where))
            begins.append(begin[keep])
            sizes.append(size[keep])
        nothing = np.empty(0, np.int64)
        self.where: Ints = np.concatenate([nothing, *wheres])  # (units,) index of the stretch
        self.begin: Ints = np.concatenate([nothing, *begins])  # (units,) first row in the stretch
        self.size: Ints = np.concatenate([nothing, *sizes])  # (units,) rows
        self.length = length
        self.upto: Ints = np.cumsum(self.size - length + 1)  # (units,) windows up to and including
        self.total = int(self.upto[-1]) if len(self.upto) else 0

    def draw(self, rng: np.random.Generator, batch: int, ends_bonus: bool) -> tuple[Ints, Ints]:
        """(stretch index, first row in that stretch), each (batch,)."""
        if ends_bonus:
            unit = rng.integers(0, len(self.size), size=batch)
            offset = rng.integers(0, self.size[unit] + 1)
            offset = np.minimum(offset, self.size[unit] - self.length)
        else:
            window = rng.integers(0, self.total, size=batch)
            unit = np.searchsorted(self.upto, window, side="right")
            offset = window - (self.upto[unit] - (self.size[unit] - self.length + 1))
        return self.where[unit], self.begin[unit] + offset
