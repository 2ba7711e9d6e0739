"""Scales and moments that follow the data: adaptive loss weights, running mean and deviation.

Where ranks share an update, what they follow is the mean over all ranks' equal shares of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from daydreamer.agents.ranks import ALONE, Ranks


class AdaptiveScale(nn.Module):
    """A loss weight that holds a quantity at a target (DayDreamer's AutoAdapt).

    hold="down": the weight grows while the quantity is above target, so adding weight * quantity
    to a loss pulls it down. hold="up": it grows while the quantity is below; subtract the product.
    Velocity and tolerance are 0.1. With adapt=False it stays at its initial value.
    """

    value: Tensor

    def __init__(
        self,
        target: float,
        *,
        hold: str,
        adapt: bool = True,
        initial: float,
        low: float,
        high: float = 1.0,
        shape: tuple[int, ...] = (),
        speed: float = 0.1,
        tolerance: float = 0.1,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self._ranks, self._adapt = ranks, adapt
        if hold not in ("up", "down"):
            raise ValueError(f"hold={hold!r}: choose up or down")
        self.target, self.hold, self.low, self.high = target, hold, low, high
        self.factor, self.margin = 1 + speed, 1 + tolerance
        self.register_buffer("value", torch.full(shape, float(initial)))

    @torch.no_grad()
    def update(self, quantity: Tensor) -> Tensor:
        """Take the newest measurement (of the scale's shape); returns the weight to use now."""
        if not self._adapt:
            return self.value.clone()
        quantity = self._ranks.mean(quantity)
        above = quantity > self.target * self.margin
        below = quantity < self.target / self.margin
        grow, shrink = (above, below) if self.hold == "down" else (below, above)
        value = torch.where(grow, self.value * self.factor, self.value)
        value = torch.where(shrink, self.value / self.factor, value)
        # A non-finite measurement compares false and leaves the scale as it was.
        self.value.copy_(value.clamp(self.low, self.high))
        return self.value.clone()


class RewardCenter(nn.Module):
    """What rewards are counted from: their replayed mean, or 0 once an episode has terminated.

    Counted from the mean, a constant hides nothing (reward centering, Naik et al. 2024). But where
    a life can end, living on is worth what it pays, and nothing may be taken from that.
    """

    sums: Tensor
    has_ended: Tensor

    def __init__(self, decay: float = 0.999, ranks: Ranks = ALONE) -> None:
        super().__init__()
        self.decay, self._ranks = decay, ranks
        # Discounted sums of rewards and of how many there were, as shares of a batch.
        self.register_buffer("sums", torch.zeros(2, dtype=torch.float64))
        self.register_buffer("has_ended", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def update(self, reward: Tensor, is_first: Tensor, is_terminal: Tensor) -> Tensor:
        """Take a batch, all (B, T); first rows were paid nothing for anything. Returns ()."""
        earned = (~is_first).double()
        ended = is_terminal.any().double()
        now = torch.stack([(reward.double() * earned).mean(), earned.mean(), ended])
        now = self._ranks.mean(now)
        sums = self.decay * self.sums + (1 - self.decay) * now[:2]
        # A batch that is not finite must not poison every later one.
        self.sums.copy_(torch.where(now.isfinite().all(), sums, self.sums))
        self.has_ended.logical_or_(now[2] > 0)
        mean = self.sums[0] / self.sums[1].clamp_min(1e-12)
        return torch.where(self.has_ended, 0.0, mean).float()


class RunningMoments(nn.Module):
    """Bias-corrected exponential averages of mean and square, in float64."""

    sums: Tensor

    def __init__(self, decay: float = 0.99, ranks: Ranks = ALONE) -> None:
        super().__init__()
        self.decay, self._ranks = decay, ranks
        # Discounted sums of x, of x^2 and of the weights.
        self.register_buffer("sums", torch.zeros(3, dtype=torch.float64))

    @torch.no_grad()
    def update(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Take a batch of any shape. Returns (mean, deviation >= 1e-8), float32 scalars."""
        x = x.double()
        ones = torch.ones((), dtype=torch.float64, device=x.device)
        now = self._ranks.mean(torch.stack([x.mean(), x.square().mean(), ones]))
        sums = self.decay * self.sums + (1 - self.decay) * now
        # A batch that is not finite must not poison every later one.
        self.sums.copy_(torch.where(now.isfinite().all(), sums, self.sums))
        mean, square = self.sums[0] / self.sums[2], self.sums[1] / self.sums[2]
        std = (square - mean.square()).clamp_min(0).sqrt().clamp_min(1e-8)
        return mean.float(), std.float()
