"""The policy's distribution over actions: Normal if continuous, one-hot if discrete."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from daydreamer.models.distributions import (
    categorical_entropy,
    mixed_probs,
    mode_onehot,
    normal_entropy,
    normal_log_prob,
    sample_onehot,
    straight_through,
)
from daydreamer.models.networks import Act, NormAct
from daydreamer.models.rssm import Latent, LatentMLP
from robots.base import ActionSpec


class Policies(NamedTuple):
    """One distribution a state, (..., A). Continuous: mean = tanh(raw), std. Discrete: probs."""

    raw: Tensor | None
    mean: Tensor | None
    std: Tensor | None
    probs: Tensor | None

    def mode(self) -> Tensor:
        """(..., A): the mean clipped to the actions that exist, or the likeliest one-hot."""
        if self.mean is not None:
            return self.mean.clamp(-1, 1)
        assert self.probs is not None
        return mode_onehot(self.probs)

    def log_prob(self, action: Tensor) -> Tensor:
        """Log-probability of actions (..., A) as they were drawn -> (...)."""
        if self.mean is not None and self.std is not None:
            return normal_log_prob(action, self.mean, self.std).sum(-1)
        assert self.probs is not None
        return (self.probs.log() * action).sum(-1)


class ActorHead(nn.Module):
    """Features -> distribution over actions (DayDreamer: mean tanh(m), bounded std)."""

    def __init__(
        self,
        feat_size: int,
        action: ActionSpec,
        *,
        layers: int,
        units: int,
        min_std: float,
        max_std: float,
        unimix: float,
        act: Act = NormAct,
    ) -> None:
        super().__init__()
        self.action = action
        self.continuous = action.kind == "continuous"
        self.min_std, self.max_std, self.unimix = min_std, max_std, unimix
        n_out = action.size * (2 if self.continuous else 1)
        self.mlp = LatentMLP(feat_size, units, layers, n_out, act=act)

    def forward(self, feat: Latent | Tensor) -> Policies:
        """The policy in beliefs, or in their features (..., F)."""
        out = self.mlp(feat).float()
        if not self.continuous:
            return Policies(None, None, None, mixed_probs(out, self.unimix))
        raw, std = out.chunk(2, -1)
        std = self.min_std + (self.max_std - self.min_std) * torch.sigmoid(std)
        return Policies(raw, torch.tanh(raw), std, None)

    def noise_like(self, feat: Tensor, generator: torch.Generator | None) -> Tensor:
        """Noise for sample(): standard normal (..., A) or uniform (...,), in float32."""
        lead, device = feat.shape[:-1], feat.device
        if self.continuous:
            return torch.randn(*lead, self.action.size, generator=generator, device=device)
        return torch.rand(*lead, generator=generator, device=device)

    def sample(self, policies: Policies, noise: Tensor) -> Tensor:
        """(..., A), with gradient: continuous as mean + std * noise, one-hot straight-through.

        Continuous samples are not clipped.
        """
        if policies.mean is not None and policies.std is not None:
            return policies.mean + policies.std * noise
        assert policies.probs is not None
        return straight_through(sample_onehot(policies.probs, noise), policies.probs)

    def entropy(self, policies: Policies) -> Tensor:
        """Entropy scaled to [0, 1]: per dimension (..., A) if continuous, else joint (..., 1)."""
        if policies.std is not None:
            low, high = math.log(self.min_std), math.log(self.max_std)
            constant = 0.5 * math.log(2 * math.pi * math.e)
            return (normal_entropy(policies.std) - constant - low) / (high - low)
        assert policies.probs is not None
        # With unimix the entropy cannot fall to 0: scale by what is possible.
        low = self._least_entropy()
        high = math.log(self.action.size)
        return ((categorical_entropy(policies.probs) - low) / max(high - low, 1e-8)).unsqueeze(-1)

    def _least_entropy(self) -> float:
        size, share = self.action.size, self.unimix / self.action.size
        best = 1 - self.unimix + share
        rest = (size - 1) * share * math.log(share) if share else 0.0
        return -(best * math.log(best) + rest)
