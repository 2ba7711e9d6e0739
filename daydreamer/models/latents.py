"""What z is: one-hot categoricals (DreamerV2) or a diagonal Gaussian (PlaNet, Dreamer).

Both turn a layer's outputs into a distribution's `stats`, and random numbers of `noise` into z.
S variables, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from daydreamer.models.distributions import (
    categorical_entropy,
    categorical_kl,
    mixed_probs,
    mode_onehot,
    normal_entropy,
    normal_kl,
)
from daydreamer.models.fused import draw


class Categoricals:
    """S categorical variables of C classes, kept flat as (..., S*C) between layers.

    Stats are probabilities (..., S, C).
    """

    noise = staticmethod(torch.rand)  # what draw() is fed with: uniform in [0, 1)

    def __init__(self, stoch: int, classes: int, unimix: float) -> None:
        self.stoch, self.classes, self.unimix = stoch, classes, unimix
        self.flat = self.outputs = stoch * classes  # numbers in z, and of a layer that says stats

    def stats(self, outputs: Tensor) -> Tensor:
        """(..., S*C) logits -> (..., S, C) probabilities with unimix, float32."""
        return mixed_probs(outputs.unflatten(-1, (self.stoch, self.classes)), self.unimix)

    def draw(self, outputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Straight-through sample of logits (..., S*C) by uniform noise (..., S).

        Returns z (..., S*C) and the index of its ones (..., S).
        """
        return draw(outputs, noise, self.unimix)

    def mode(self, stats: Tensor) -> Tensor:
        """The likeliest classes, without gradient. (..., S, C) -> (..., S*C)."""
        return mode_onehot(stats).flatten(-2)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        """KL(p || q) in nats, of stats. Returns (...)."""
        return categorical_kl(p, q)

    def entropy(self, stats: Tensor) -> Tensor:
        """In nats, summed over variables. Returns (...)."""
        return categorical_entropy(stats).sum(-1)


class Gaussians:
    """S independent normal variables, so that z (..., S) is dense.

    Stats are means and standard deviations (..., 2, S).
    """

    noise = staticmethod(torch.randn)  # what draw() is fed with: standard normal

    def __init__(self, stoch: int) -> None:
        self.stoch = self.flat = stoch
        self.outputs = 2 * stoch

    def stats(self, outputs: Tensor) -> Tensor:
        """(..., 2 S) -> (..., 2, S), float32: means as they come, deviations of 0.1 to 2.1."""
        mean, raw = outputs.float().unflatten(-1, (2, self.stoch)).unbind(-2)
        return torch.stack([mean, 2 * torch.sigmoid(raw / 2) + 0.1], -2)

    def draw(self, outputs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Sample of outputs (..., 2 S) by noise (..., S), with gradient to mean and deviation.

        Returns z (..., S) and an index (..., 0), which says that z is dense.
        """
        mean, std = self.stats(outputs).unbind(-2)
        z = mean + std * noise
        return z, torch.empty(*z.shape[:-1], 0, dtype=torch.int64, device=z.device)

    def mode(self, stats: Tensor) -> Tensor:
        """The means. (..., 2, S) -> (..., S)."""
        return stats.select(-2, 0)

    def kl(self, p: Tensor, q: Tensor) -> Tensor:
        """KL(p || q) in nats, of stats. Returns (...)."""
        return normal_kl(*p.unbind(-2), *q.unbind(-2)).sum(-1)

    def entropy(self, stats: Tensor) -> Tensor:
        """Differential entropy in nats (negative where narrow), summed. Returns (...)."""
        return normal_entropy(stats.select(-2, 1)).sum(-1)


Latents = Categoricals | Gaussians
