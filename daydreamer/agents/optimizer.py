"""Adam as DayDreamer uses it: clipped by global norm, decoupled decay on kernels only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class StepReport(NamedTuple):
    """Scalars: the gradient's global norm before clipping; 1 if the step was skipped."""

    grad_norm: Tensor
    skipped: Tensor


class Optimizer:
    """One Adam over a fixed set of parameters, of which those that need no gradient are left out.

    Kernels are what has two dimensions or more: w <- (1 - lr * weight_decay) * w, before Adam.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        eps: float,
        clip: float,
        weight_decay: float,
    ) -> None:
        self.params = [p for p in params if p.requires_grad]
        self.clip = clip
        kernels = [p for p in self.params if p.ndim >= 2]
        others = [p for p in self.params if p.ndim < 2]
        groups = [
            {"params": kernels, "weight_decay": weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.adam = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=lr, eps=eps, fused=True
        )

    def step(self, loss: Tensor) -> StepReport:
        """Backward from a scalar loss into these parameters alone, then one clipped step.

        Where loss or gradient is not finite, parameters and moments stay as they are.
        """
        grads = torch.autograd.grad(loss, self.params, allow_unused=True)
        for p, g in zip(self.params, grads, strict=True):
            p.grad = g
        norm = nn.utils.clip_grad_norm_(self.params, self.clip)
        good = bool(torch.isfinite(norm) & torch.isfinite(loss.detach()))
        if good:
            self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return StepReport(norm.detach(), torch.tensor(0.0 if good else 1.0))
