"""Means of training metrics between two lines of the metrics file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor


class Averages:
    """Sums stay on the device until they are asked for: no update waits for its own figures."""

    def __init__(self) -> None:
        # By the names of an update's metrics, which change where exploring ends: one sum a name,
        # then how many updates.
        self._sums: dict[tuple[str, ...], Tensor] = {}

    def add(self, metrics: Mapping[str, Tensor], bad: Tensor) -> None:
        """One update's scalars; bad > 0: leave them out."""
        values = [x.detach().float() for x in metrics.values()]
        row = torch.stack([*values, torch.ones_like(values[0])])
        row = torch.where(bad > 0, torch.zeros_like(row), row)  # a NaN times 0 would stay
        names = tuple(metrics)
        self._sums[names] = self._sums[names] + row if names in self._sums else row

    def take(self) -> dict[str, float]:
        """Each name's mean over the updates since the last call that had it; begins anew.

        Waits for the device.
        """
        sums: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for names, row in self._sums.items():
            *values, count = row.tolist()
            for name, value in zip(names, values, strict=True):
                sums[name] += value
                counts[name] += count
        self._sums = {}
        return {name: sums[name] / count for name, count in counts.items() if count}
