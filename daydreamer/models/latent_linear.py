"""The first linear layer over a belief, at the cost of what is not zero in it.

A one-hot z has S ones in its F = S*C columns, so W z is the sum of S columns of W. On the way back
z needs a dense gradient, as it is drawn straight-through. An index (N, 0) says that z is dense, as
Gaussian latents are: then the product is computed as such.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from daydreamer.models.casting import cast, cast_columns


def stoch_linear(z: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """F.linear(z, weight) where z (N, F) is 1 at index (N, S) and 0 elsewhere. Returns (N, U)."""
    if not index.shape[-1]:
        return _dense(z, weight)
    out: Tensor = _OneHotLinear.apply(  # type: ignore[no-untyped-call]
        z, index, cast(weight), cast_columns(weight, 0)
    )
    return out


def latent_linear(h: Tensor, z: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """F.linear(cat([h, z], -1), weight), z (N, F) being 1 at index (N, S) and 0 elsewhere.

    h (N, D), weight (U, D + F). Returns (N, U).
    """
    if not index.shape[-1]:
        return _dense(torch.cat([h, z], -1), weight)
    wide = cast(weight)
    rows = cast_columns(weight, h.shape[-1])
    out: Tensor = _LatentLinear.apply(  # type: ignore[no-untyped-call]
        h.to(wide.dtype), z, index, wide, rows
    )
    return out


def _dense(x: Tensor, weight: Tensor) -> Tensor:
    wide = cast(weight)
    return F.linear(x.to(wide.dtype), wide)


class _OneHotLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, index: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(z, weight)
        return F.embedding_bag(index, rows, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None]:
        z, weight = ctx.saved_tensors
        grad_z = (grad @ weight).to(z.dtype) if ctx.needs_input_grad[0] else None
        grad_weight = grad.t() @ z.to(grad.dtype) if ctx.needs_input_grad[2] else None
        return grad_z, None, grad_weight, None


class _LatentLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, h: Tensor, z: Tensor, index: Tensor, weight: Tensor, rows: Tensor
    ) -> Tensor:
        ctx.save_for_backward(h, z, weight)
        out = F.embedding_bag(index, rows, mode="sum")
        return out.addmm_(h, weight[:, : h.shape[1]].t())

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor
    ) -> tuple[Tensor | None, Tensor | None, None, Tensor | None, None]:
        h, z, weight = ctx.saved_tensors
        deter = h.shape[1]
        grad_h = grad @ weight[:, :deter] if ctx.needs_input_grad[0] else None
        grad_z = (grad @ weight[:, deter:]).to(z.dtype) if ctx.needs_input_grad[1] else None
        grad_weight = None
        if ctx.needs_input_grad[3]:
            grad_weight = torch.empty_like(weight)
            torch.mm(grad.t(), h, out=grad_weight[:, :deter])
            torch.mm(grad.t(), z.to(grad.dtype), out=grad_weight[:, deter:])
        return grad_h, grad_z, None, grad_weight, None
