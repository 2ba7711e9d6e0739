"""Distributions of latents, actions and predictions, as plain functions of tensors.

S variables, C classes. Sources: DreamerV2 (categorical latents, straight-through), DayDreamer
(unimix), DreamerV3 (symlog).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|): squashes large values, keeps small ones."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """Inverse of symlog."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


def mixed_probs(logits: Tensor, unimix: float) -> Tensor:
    """(..., C) probabilities with a share `unimix` of the uniform distribution, in float32."""
    probs = torch.softmax(logits.float(), dim=-1)
    if unimix:
        return probs * (1 - unimix) + unimix / logits.shape[-1]
    # Softmax rounds unlikely classes to 0, whose logarithm would make KL and entropy NaN.
    return probs.clamp_min(torch.finfo(probs.dtype).tiny)


def sample_index(probs: Tensor, uniform: Tensor) -> Tensor:
    """Class drawn by inverse CDF. probs (..., C), uniform (...,) in [0, 1). Returns (...,) int64.

    One uniform number a variable, against C of the Gumbel trick: sampling is a visible part of
    an update.
    """
    with torch.no_grad():
        above = (probs.cumsum(-1) <= uniform.unsqueeze(-1)).sum(-1)
        # Rounding can leave the last cumulative sum below the largest uniform number.
        return above.clamp_max(probs.shape[-1] - 1)


def sample_onehot(probs: Tensor, uniform: Tensor) -> Tensor:
    """One-hot sample_index() of probs (..., C), without gradient. Returns (..., C)."""
    return _onehot(sample_index(probs, uniform), probs)


def mode_onehot(probs: Tensor) -> Tensor:
    """One-hot of the likeliest class. (..., C) -> (..., C), no gradient."""
    return _onehot(probs.argmax(-1), probs)


def _onehot(index: Tensor, like: Tensor) -> Tensor:
    """Index (...,) -> one-hot, as like (..., C). F.one_hot would read indices to check them."""
    return torch.zeros_like(like).scatter_(-1, index.unsqueeze(-1), 1.0)


def straight_through(onehot: Tensor, probs: Tensor) -> Tensor:
    """Value of `onehot` (exactly), gradient of `probs`. Both (..., C), of any float type."""
    out: Tensor = _StraightThrough.apply(onehot, probs)  # type: ignore[no-untyped-call]
    return out


class _StraightThrough(torch.autograd.Function):
    # onehot + (probs - probs.detach()) would be three passes over memory for the same thing.
    @staticmethod
    def forward(ctx: Any, onehot: Tensor, probs: Tensor) -> Tensor:
        return onehot.view_as(onehot)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad.to(torch.float32)


def categorical_kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) in nats, summed over variables. p, q (..., S, C) > 0. Returns (...)."""
    return (p * (p.log() - q.log())).sum((-2, -1))


def categorical_entropy(probs: Tensor) -> Tensor:
    """Entropy in nats over the last dimension. (..., C) -> (...)."""
    return -(probs * probs.log()).sum(-1)


def normal_kl(p_mean: Tensor, p_std: Tensor, q_mean: Tensor, q_std: Tensor) -> Tensor:
    """KL(p || q) in nats of two normal distributions, elementwise."""
    squares = (p_std.square() + (p_mean - q_mean).square()) / q_std.square()
    return q_std.log() - p_std.log() + 0.5 * squares - 0.5


def normal_log_prob(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Log-density of N(mean, std) at x, elementwise."""
    return -0.5 * ((x - mean) / std).square() - std.log() - 0.5 * math.log(2 * math.pi)


def normal_entropy(std: Tensor) -> Tensor:
    """Entropy in nats of N(., std), elementwise."""
    return std.log() + 0.5 * math.log(2 * math.pi * math.e)
