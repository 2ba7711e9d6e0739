"""Layers: Linear or convolution, layer norm, ELU, initialised as DayDreamer does.

Products carry no bias; what follows them brings it. So layers without norm differ by one module.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from daydreamer.models.casting import Linear
from daydreamer.models.fused import norm_elu


def uniform_init_(weight: Tensor, fan_in: int, fan_out: int, scale: float = 1.0) -> None:
    """Fill with U(-l, l), l = sqrt(3 scale / mean(fan_in, fan_out)) (DayDreamer's initialiser)."""
    limit = math.sqrt(3 * scale / ((fan_in + fan_out) / 2))
    with torch.no_grad():
        weight.uniform_(-limit, limit)


def linear(
    n_in: int,
    n_out: int,
    *,
    bias: bool = True,
    scale: float = 1.0,
    fans: tuple[int, int] | None = None,
    exact: bool = False,
) -> Linear:
    """A linear layer with DayDreamer's initial weights and zero bias.

    fans: fan-in and fan-out of the whole layer where this is one part of it.
    exact: computed in float32 whatever the rest is computed in.
    """
    layer = Linear(n_in, n_out, bias=bias, exact=exact)
    uniform_init_(layer.weight, *(fans or (n_in, n_out)), scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class NormAct(nn.Module):
    """Layer norm over the last dimension, then ELU."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(units))
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """(..., units) -> (..., units)."""
        return norm_elu(x, self.weight, self.bias)


class BiasAct(nn.Module):
    """In NormAct's place where there is no norm: the bias, then ELU."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(units))

    def forward(self, x: Tensor) -> Tensor:
        """(..., units) -> (..., units), of x's type."""
        return F.elu(x + self.bias).to(x.dtype)


Act = Callable[[int], nn.Module]  # what follows a product: NormAct or BiasAct of so many units


class MLP(nn.Module):
    """`layers` times (Linear, act: norm and ELU); with `n_out`, one Linear of `out_scale` last.

    exact: that last one is computed in float32.
    """

    def __init__(
        self,
        n_in: int,
        units: int,
        layers: int,
        n_out: int | None = None,
        out_scale: float = 0.1,
        exact: bool = False,
        act: Act = NormAct,
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for index in range(layers):
            blocks += [linear(n_in if index == 0 else units, units, bias=False), act(units)]
        if n_out is not None:
            blocks.append(linear(units if layers else n_in, n_out, scale=out_scale, exact=exact))
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(..., n_in) -> (..., units or n_out)."""
        out: Tensor = self.blocks(x)
        return out
