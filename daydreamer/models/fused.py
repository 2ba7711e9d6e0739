"""What lies between two matrix products: one pass over memory on a CPU, plain PyTorch elsewhere.

The plain functions below say what is computed; tests/models/test_fused.py holds the two equal.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from daydreamer.models.distributions import mixed_probs, sample_index, straight_through
from daydreamer.native.library import library

NORM_EPS = 1e-3  # DayDreamer's; torch's default is 1e-5. As in native/kernels.c.
_BLOCKS = 16  # of sums over rows, as in native/kernels.c
_SUFFIX = {torch.float32: "f32", torch.bfloat16: "bf16"}


def norm_elu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """ELU of the layer norm over the last dimension. x (..., U), weight and bias (U,)."""
    if not _has_kernels(x):
        return plain_norm_elu(x, weight, bias)
    y: Tensor = _NormElu.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


def gates(parts: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The next state of a GRU whose gates are normalised together (DreamerV2).

    parts (N, 3 D): reset, candidate, update before the norm; h (N, D) float32; weight, bias (3 D,).
    """
    if not _has_kernels(parts):
        return plain_gates(parts, h, weight, bias)
    after: Tensor = _Gates.apply(parts, h, weight, bias)  # type: ignore[no-untyped-call]
    return after


def draw(logits: Tensor, uniform: Tensor, unimix: float) -> tuple[Tensor, Tensor]:
    """Straight-through sample of S variables of C classes, by inverse CDF.

    logits (..., S*C), uniform (..., S) in [0, 1). Returns z (..., S*C), one-hot, and the index of
    its ones (..., S) int64, counted over all S*C.
    """
    if not _has_kernels(logits):
        return plain_draw(logits, uniform, unimix)
    z, index = _Draw.apply(logits, uniform, unimix)  # type: ignore[no-untyped-call]
    return z, index


def plain_norm_elu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """norm_elu() by PyTorch's own operations."""
    return F.elu(F.layer_norm(x, weight.shape, weight, bias, NORM_EPS))


def plain_gates(parts: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """gates() by PyTorch's own operations."""
    return open_gates(F.layer_norm(parts, weight.shape, weight, bias, NORM_EPS), h)


def open_gates(normed: Tensor, h: Tensor) -> Tensor:
    """gates() after its norm: (N, 3 D) and (N, D) -> (N, D)."""
    reset, candidate, update = normed.chunk(3, dim=-1)
    candidate = torch.tanh(torch.sigmoid(reset) * candidate)
    # The reset gate multiplies the candidate; -1: by default the cell remembers.
    return h + torch.sigmoid(update - 1) * (candidate - h)


def plain_draw(logits: Tensor, uniform: Tensor, unimix: float) -> tuple[Tensor, Tensor]:
    """draw() by PyTorch's own operations."""
    stoch = uniform.shape[-1]
    classes = logits.shape[-1] // stoch
    probs = mixed_probs(logits.unflatten(-1, (stoch, classes)), unimix)
    drawn = sample_index(probs, uniform)
    onehot = torch.zeros_like(probs, dtype=logits.dtype).scatter_(-1, drawn.unsqueeze(-1), 1)
    z = straight_through(onehot, probs).flatten(-2)
    return z, drawn + torch.arange(0, stoch * classes, classes, device=drawn.device)


def _has_kernels(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in _SUFFIX and library() is not None


def _call(name: str, kind: torch.dtype, *arguments: Tensor | float | None) -> None:
    """Call a kernel: tensors as addresses. The caller keeps them contiguous and of right type."""
    function = getattr(library(), f"{name}_{_SUFFIX[kind]}")
    function(*(x.data_ptr() if isinstance(x, Tensor) else x for x in arguments))


class _NormElu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, weight, bias)
        y = torch.empty_like(x)
        units = x.shape[-1]
        _call("norm_elu", x.dtype, x, weight, bias, y, x.numel() // units, units)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, weight, bias = ctx.saved_tensors
        grad = grad.to(x.dtype).contiguous()
        units = x.shape[-1]
        gx = torch.empty_like(x)
        gw, gb, partial = _weight_grads(weight, ctx.needs_input_grad[1])
        rows = x.numel() // units
        _call("norm_elu_back", x.dtype, grad, x, weight, bias, gx, gw, gb, partial, rows, units)
        return gx, gw, gb


class _Gates(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parts: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parts, h = parts.contiguous(), h.float().contiguous()
        ctx.save_for_backward(parts, h, weight, bias)
        after = torch.empty_like(h)
        _call("gates", parts.dtype, parts, weight, bias, h, after, *h.shape)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        parts, h, weight, bias = ctx.saved_tensors
        grad = grad.float().contiguous()
        gparts, gh = torch.empty_like(parts), torch.empty_like(h)
        gw, gb, partial = _weight_grads(weight, ctx.needs_input_grad[2])
        _call(
            "gates_back", parts.dtype, grad, parts, weight, bias, h, gparts, gh, gw, gb, partial,
            *h.shape,
        )  # fmt: skip
        return gparts, gh, gw, gb


class _Draw(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, uniform: Tensor, unimix: float) -> tuple[Tensor, Tensor]:
        logits, uniform = logits.contiguous(), uniform.contiguous()
        ctx.save_for_backward(logits)
        stoch = uniform.shape[-1]
        ctx.unimix, ctx.sizes = unimix, _sizes(logits, stoch)
        z = torch.empty_like(logits)
        index = torch.empty(uniform.shape, dtype=torch.int64)
        _call("draw", logits.dtype, logits, uniform, unimix, z, index, *ctx.sizes)
        ctx.mark_non_differentiable(index)
        return z, index

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        (logits,) = ctx.saved_tensors
        grad = grad.to(logits.dtype).contiguous()
        glogits = torch.empty_like(logits)
        _call("draw_back", logits.dtype, grad, logits, ctx.unimix, glogits, *ctx.sizes)
        return glogits, None, None


def _sizes(logits: Tensor, stoch: int) -> tuple[int, int, int]:
    flat = logits.shape[-1]
    return logits.numel() // flat, stoch, flat // stoch


def _weight_grads(
    weight: Tensor, wanted: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Room for the gradients of weight and bias, and to sum them in."""
    if not wanted:
        return None, None, None
    partial = torch.empty(_BLOCKS, 2, len(weight))
    return torch.empty_like(weight), torch.empty_like(weight), partial
