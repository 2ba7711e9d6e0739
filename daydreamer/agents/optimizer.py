"""Adam as DayDreamer uses it: clipped by global norm, decoupled decay on kernels only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class StepReport(NamedTuple):
    """Scalars on the device: the gradient's global norm before clipping; 1 if the step was skipped.

    Reading them waits for the device.
    """

    grad_norm: Tensor
    skipped: Tensor


class _Adam(torch.optim.AdamW):
    """The fused kernel reads these two scalars on the device, as torch.amp.GradScaler has it do."""

    grad_scale: Tensor  # gradients are divided by it
    found_inf: Tensor  # 1: parameters, moments and step counts stay as they are


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
        self.adam = _Adam([g for g in groups if g["params"]], lr=lr, eps=eps, fused=True)

    def step(self, loss: Tensor) -> StepReport:
        """One clipped step along the gradients that loss.backward() has left in the parameters.

        Where loss or gradient is not finite, nothing changes. Nothing here waits for the device.
        """
        norm = nn.utils.get_total_norm([p.grad for p in self.params if p.grad is not None])
        finite = torch.isfinite(norm) & torch.isfinite(loss.detach())
        skipped = 1.0 - finite.float()
        # To divide while stepping saves a pass over all gradients.
        self.adam.grad_scale = (norm / self.clip).clamp_min(1.0)
        self.adam.found_inf = skipped
        self.adam.step()
        self.adam.zero_grad(set_to_none=True)
        return StepReport(norm, skipped)
