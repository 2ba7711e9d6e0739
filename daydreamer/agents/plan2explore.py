"""Plan2Explore: learn to go where an ensemble of one-step models disagrees (Sekar et al. 2020).

    # step k       s_k --a_k--> h_k+1    the world model's own recurrence, shared by all members
    # member i                  h_k+1 -> guess i of z_k+1
    # reward                    how far the guesses are apart

What the model knows well, all members guess alike; what is noise, they guess alike as well, for
each learns its mean. They differ where data is missing: going there is what exploring is paid for.
docs/exploration.md says when, and what of it an actor and `eval` see.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from daydreamer.agents.adapt import RunningMoments
from daydreamer.agents.behavior import Behavior, read
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.losses import squared_error
from daydreamer.agents.ranks import ALONE, Ranks
from daydreamer.agents.world_model import WorldModel
from daydreamer.models.networks import MLP
from daydreamer.models.policy import build_act
from daydreamer.models.rssm import Latent
from robots.base import ActionSpec


class Ensemble(nn.Module):
    """`explore_models` guesses of the z that belongs to an h, alike but for their first weights."""

    def __init__(self, cfg: AgentConfig, z_size: int) -> None:
        super().__init__()
        shape = cfg.deter, cfg.mlp_units, cfg.mlp_layers, z_size
        self.members = nn.ModuleList(
            MLP(*shape, out_scale=1.0, exact=True, act=build_act(cfg))
            for _ in range(cfg.explore_models)
        )

    def forward(self, latent: Latent) -> Tensor:
        """Beliefs (N, ...) -> (N, 1): the guesses' standard deviation, mean over z's numbers."""
        guesses = torch.stack([member(latent.h) for member in self.members])
        # Where all agree to the last bit, the root's slope would be infinite.
        spread = (guesses.var(0, unbiased=False) + 1e-12).sqrt()
        return spread.mean(-1, keepdim=True)

    def loss(self, post: Latent, is_first: Tensor) -> Tensor:
        """Squared error of a guess, summed over z, mean over rows and members.

        post (B, T, ...), is_first (B, T): a first row follows from nothing and teaches nothing.
        """
        h, z = post.h.detach().flatten(0, 1), post.z.detach().flatten(0, 1).float()
        follows = (~is_first).reshape(-1, 1).float()
        errors = [squared_error(member(h) * follows, z * follows) for member in self.members]
        return torch.stack(errors).mean()


class ExplorerLoss(NamedTuple):
    """Three scalars to minimise, each for its own parameters, and metrics."""

    ensemble: Tensor
    actor: Tensor
    critic: Tensor
    metrics: dict[str, Tensor]


class Explorer(nn.Module):
    """The ensemble, and a behaviour of its own that is paid for the ensemble's disagreement."""

    def __init__(
        self, cfg: AgentConfig, model: WorldModel, action: ActionSpec, ranks: Ranks = ALONE
    ) -> None:
        super().__init__()
        self.cfg, rssm = cfg, model.rssm
        self.ensemble = Ensemble(cfg, rssm.latents.flat)
        self.behavior = Behavior(cfg, rssm.feat_size, action, ranks)
        self.moments = RunningMoments(ranks=ranks)

    def forward(
        self,
        model: WorldModel,
        post: Latent,
        is_first: Tensor,
        start: Latent,
        start_cont: Tensor,
        center: Tensor,
        generator: torch.Generator,
    ) -> ExplorerLoss:
        """post, is_first: a whole batch (B, T, ...). The rest: see Behavior.loss().

        The model must be frozen by the caller.
        """
        cfg = self.cfg
        seen: dict[str, Tensor] = {}

        def pay(ahead: Latent, reward: Tensor) -> Tensor:
            """Disagreement in units of its running mean, and the weighted reward of the task."""
            disagreement = read(self.ensemble, ahead)
            mean, _ = self.moments.update(disagreement.detach())
            if cfg.center_rewards:
                reward = reward - center
            paid = disagreement / mean.clamp_min(1e-8) + cfg.explore_extrinsic * reward
            seen["disagreement"] = disagreement.detach().mean()
            seen["imagined_reward"] = paid.detach().mean()  # not the task's, as in Behavior
            return paid

        ensemble = self.ensemble.loss(post, is_first)
        behavior = self.behavior.loss(model, start, start_cont, center, generator, pay=pay)
        metrics = {**behavior.metrics, **seen, "ensemble_loss": ensemble.detach()}
        return ExplorerLoss(ensemble, behavior.actor, behavior.critic, metrics)
