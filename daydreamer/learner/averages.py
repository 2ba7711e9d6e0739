"""Means of training metrics between two lines of the metrics file."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Averages:
    """Sums stay on the device until they are asked for: no update waits for its own figures."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._sums: Tensor | None = None  # one a name, then how many updates

    def add(self, metrics: Mapping[str, Tensor], bad: Tensor) -> None:
        """One update's scalars, always of the same names; bad > 0: leave them out."""
        values = [x.detach().float() for x in metrics.values()]
        row = torch.stack([*values, torch.ones_like(values[0])])
        row = torch.where(bad > 0, torch.zeros_like(row), row)  # a NaN times 0 would stay
        self._names = tuple(metrics)
        self._sums = row if self._sums is None else self._sums + row

    def take(self) -> dict[str, float]:
        """Means since the last call; begins anew. Waits for the device, once."""
        if self._sums is None:
            return {}
        *sums, count = self._sums.tolist()
        self._sums = None
        return {name: x / count for name, x in zip(self._names, sums, strict=True)} if count else {}
