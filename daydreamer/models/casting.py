"""Weights in the type that products are computed in, cast once an update and not once a use.

Autocast remembers its casts only of weights that are being trained; imagination reads the frozen
ones of the world model hundreds of times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Casts(NamedTuple):
    dtype: torch.dtype | None
    made: dict[tuple[int, str, bool], tuple[Tensor, Tensor]]  # the weight, and what it was cast to


_stack: list[_Casts] = []


@contextmanager
def computing_in(dtype: torch.dtype | None, device: torch.device) -> Iterator[None]:
    """Matrix products and convolutions in `dtype` (None: that of the weights).

    Weights must not change meanwhile. For one thread.
    """
    _stack.append(_Casts(dtype, {}))
    try:
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            yield
    finally:
        _stack.pop()


def cast(weight: Tensor) -> Tensor:
    """`weight` in the type of computing_in()."""
    return _once(weight, "", lambda dtype: weight.to(dtype))


def cast_columns(weight: Tensor, start: int) -> Tensor:
    """Columns `start`.. of a weight (U, F), cast, as rows (F - start, U); carries no gradient."""
    return _once(
        weight, f"{start}..", lambda dtype: weight.detach()[:, start:].to(dtype).t().contiguous()
    )


def _once(weight: Tensor, way: str, make: Callable[[torch.dtype], Tensor]) -> Tensor:
    if not _stack:
        return make(weight.dtype)
    casts = _stack[-1]
    # What was cast without a graph must not serve where a gradient is wanted.
    key = (weight.data_ptr(), way, torch.is_grad_enabled() and weight.requires_grad)
    if key not in casts.made:
        # The weight is kept along: the address of one that is gone could be another's.
        casts.made[key] = (weight, make(casts.dtype or weight.dtype))
    return casts.made[key][1]


class Linear(nn.Linear):
    """nn.Linear whose weights are cast once an update; with `exact`, computed in float32."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = True, exact: bool = False) -> None:
        super().__init__(n_in, n_out, bias=bias)
        self.exact = exact

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., n_out)."""
        if self.exact:
            with torch.autocast(x.device.type, enabled=False):
                return F.linear(x.float(), self.weight, self.bias)
        weight = cast(self.weight)
        return F.linear(x.to(weight.dtype), weight, None if self.bias is None else cast(self.bias))
