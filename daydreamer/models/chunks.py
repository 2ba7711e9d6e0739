"""Long batches of independent beliefs, a few thousand at a time.

Only results are kept of what a network computes for so many beliefs: a fraction of the memory.
Small chunks take more time (docs/results/performance.md). On a GPU, all beliefs are one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from daydreamer.models.rssm import Latent

CHUNK_ROWS = 7680  # half of what W1 imagines, all of size=small


def read_frozen(head: nn.Module, latent: Latent) -> Tensor:
    """head(latent) -> (N,) float32, where head gives (N, 1) and its weights need no gradient.

    Number i depends on belief i alone, so its slope in that belief is one row; it is taken while
    the activations are at hand, and all that backward does is to scale it.
    """
    out: Tensor = _ReadFrozen.apply(*latent, head)  # type: ignore[no-untyped-call]
    return out


def mean_in_chunks(
    rows: int, like: Tensor, part: Callable[[slice], Tensor], head: nn.Module
) -> Tensor:
    """sum(part(chunk)) / rows over all rows, with gradients for head's weights alone.

    part gives the sum of a loss over a slice of the rows. like: a tensor on the device to use.
    """
    params = [p for p in head.parameters() if p.requires_grad]
    out: Tensor = _MeanInChunks.apply(  # type: ignore[no-untyped-call]
        list(_slices(rows, like)), part, *params
    )
    return out


def _slices(rows: int, like: Tensor) -> Iterator[slice]:
    step = CHUNK_ROWS if like.device.type == "cpu" else rows
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _grad(loss: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Each product in the type that it had forwards: autocast would have its own way with them."""
    with torch.autocast(loss.device.type, enabled=False):
        return torch.autograd.grad(loss, inputs, materialize_grads=True)


class _ReadFrozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, z: Tensor, index: Tensor, head: nn.Module) -> Tensor:
        sloped = any(ctx.needs_input_grad[:2])
        out = torch.empty(len(h), dtype=torch.float32, device=h.device)
        slopes = (torch.empty_like(h, dtype=z.dtype), torch.empty_like(z)) if sloped else ()
        for rows in _slices(len(h), h):
            inputs = tuple(x[rows].detach().requires_grad_(sloped) for x in (h, z))
            with torch.set_grad_enabled(sloped):
                chunk = head(Latent(inputs[0], inputs[1], index[rows])).squeeze(-1).float()
                total = chunk.sum()
            out[rows] = chunk.detach()
            if sloped:
                for kept, slope in zip(slopes, _grad(total, inputs), strict=True):
                    kept[rows] = slope
        ctx.save_for_backward(*slopes)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_h, of_z = ctx.saved_tensors
        scale = grad.unsqueeze(-1)
        return of_h * scale, of_z * scale.to(of_z.dtype), None, None


class _MeanInChunks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, chunks: list[slice], part: Callable[[slice], Tensor], *params: Tensor
    ) -> Tensor:
        rows = chunks[-1].stop
        total, sums = params[0].new_zeros(()), [torch.zeros_like(p) for p in params]
        for chunk in chunks:
            with torch.enable_grad():
                loss = part(chunk) / rows
            torch._foreach_add_(sums, _grad(loss, params))
            total += loss.detach()
        ctx.save_for_backward(*sums)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *torch._foreach_mul(ctx.saved_tensors, grad))
