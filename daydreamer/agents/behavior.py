"""Behaviour learned in imagination: actor, critic, slow critic."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from daydreamer.agents.adapt import AdaptiveScale, RunningMoments
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.losses import (
    actor_loss,
    discount_weights,
    lambda_return,
    symlog_error,
)
from daydreamer.agents.ranks import ALONE, Ranks
from daydreamer.agents.world_model import WorldModel
from daydreamer.models.actor_head import Policies
from daydreamer.models.chunks import mean_in_chunks, read_frozen
from daydreamer.models.distributions import symexp
from daydreamer.models.policy import build_act, build_actor_head
from daydreamer.models.rssm import Latent, LatentMLP
from robots.base import ActionSpec


class Imagined(NamedTuple):
    """N starts, H steps. Policies hold (N, H, ...).

    Beliefs are time first: leaving out the last step then copies nothing.
    """

    start: Latent  # (N, ...) from replay
    ahead: Latent  # (H, N, ...) imagined
    action: Tensor  # (N, H, A): action k was chosen in the belief before ahead[k]
    drawn: Tensor  # (N, H, A): the same before any clipping, without gradient
    policies: Policies

    @property
    def before(self) -> Latent:
        """The beliefs (H, N, ...) in which the actions were chosen, without gradient."""
        pairs = zip(self.start.detach(), self.ahead.detach(), strict=True)
        return Latent(*(torch.cat([first.unsqueeze(0), rest[:-1]]) for first, rest in pairs))


Pay = Callable[[Latent, Tensor], Tensor]  # (beliefs ahead, predicted rewards) -> (N, H)


class BehaviorLoss(NamedTuple):
    """Two scalars to minimise, each for its own parameters, and metrics."""

    actor: Tensor
    critic: Tensor
    metrics: dict[str, Tensor]


def read(head: nn.Module, beliefs: Latent) -> Tensor:
    """One number a belief: (H, N, ...) -> (N, H), float32."""
    return read_frozen(head, beliefs.flatten()).view(beliefs.h.shape[:2]).transpose(0, 1)


class Behavior(nn.Module):
    """Actor and critics over features of a world model."""

    def __init__(
        self, cfg: AgentConfig, feat_size: int, action: ActionSpec, ranks: Ranks = ALONE
    ) -> None:
        super().__init__()
        self.cfg, self._ranks = cfg, ranks
        self.actor = build_actor_head(cfg, feat_size, action)
        # The share of REINFORCE in the actor's gradient; the rest comes through the dynamics.
        usual = 0.0 if self.actor.continuous else 1.0
        self.share = usual if cfg.reinforce_share is None else cfg.reinforce_share
        self.critic = LatentMLP(feat_size, cfg.mlp_units, cfg.mlp_layers, 1, act=build_act(cfg))
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.entropy_scale = AdaptiveScale(
            cfg.entropy_target,
            hold="up",
            adapt=cfg.entropy_adapt,
            initial=cfg.entropy_scale,
            low=1e-5,
            shape=(action.size if self.actor.continuous else 1,),
            ranks=ranks,
        )
        self.advantage_moments = RunningMoments(ranks=ranks)

    def imagine(self, model: WorldModel, start: Latent, generator: torch.Generator) -> Imagined:
        """Roll the policy through the model from start (N, ...).

        The policy sees sg(feat): its gradient reaches earlier actions only through the dynamics.
        A share of 1 takes nothing through the dynamics, so the rollout then keeps no graph.
        """
        beliefs, actions, draws, policies = [], [], [], []
        latent, latents = start, model.rssm.latents
        with torch.set_grad_enabled(self.share < 1):
            for _ in range(self.cfg.horizon):
                seen = latent.detach()
                chosen = self.actor(seen)
                action = self.actor.sample(chosen, self._noise(len(seen.h), generator))
                draws.append(action.detach())
                if self.cfg.clip_imagined:
                    # Straight-through, or the gradient of a clipped action would vanish.
                    action = action + (action.clamp(-1, 1) - action).detach()
                size = len(seen.h), latents.stoch
                noise = self._ranks.noise(latents.noise, *size, generator=generator)
                latent = model.rssm.imagine_step(latent, action, noise)
                beliefs.append(latent)
                actions.append(action)
                policies.append(chosen)
        ahead = Latent(*(torch.stack(x) for x in zip(*beliefs, strict=True)))
        action, drawn = (torch.stack(x, 1) for x in (actions, draws))
        imagined = Imagined(start, ahead, action, drawn, policies[0])
        if self.share < 1:
            parts = zip(*policies, strict=True)
            stacked = (None if p[0] is None else torch.stack(p, 1) for p in parts)
        else:
            again = self.actor(imagined.before)  # with a graph, all at once
            stacked = (None if p is None else p.transpose(0, 1) for p in again)
        return imagined._replace(policies=Policies(*stacked))

    def _noise(self, rows: int, generator: torch.Generator) -> Tensor:
        """For actor.sample(): standard normal (rows, A), or uniform (rows,) if discrete."""
        if self.actor.continuous:
            size = rows, self.actor.action.size
            return self._ranks.noise(torch.randn, *size, generator=generator)
        return self._ranks.noise(torch.rand, rows, generator=generator)

    def loss(
        self,
        model: WorldModel,
        start: Latent,
        start_cont: Tensor,
        center: Tensor,
        generator: torch.Generator,
        *,
        pay: Pay | None = None,
    ) -> BehaviorLoss:
        """start: beliefs (N, ...) without gradient; start_cont (N,): true 1 - is_terminal there.

        center: () what imagined rewards are counted from, see adapt.RewardCenter.
        pay: what the beliefs ahead pay, as it is; by default the predicted reward, centered or not.
        The model must be frozen by the caller (requires_grad off): only actor and critic learn.
        """
        cfg = self.cfg
        imagined = self.imagine(model, start, generator)
        with torch.set_grad_enabled(self.share < 1):
            reward = symexp(read(model.reward, imagined.ahead))
            cont = torch.sigmoid(read(model.cont, imagined.ahead))
            next_value = symexp(read(self.slow_critic, imagined.ahead))
            first_value = symexp(read_frozen(self.slow_critic, start)).unsqueeze(1)
            value = torch.cat([first_value, next_value[:, :-1]], 1)
            if pay is not None:
                paid = pay(imagined.ahead, reward)
            elif cfg.center_rewards:
                paid = (reward - center) * (1 - cfg.discount)
            else:
                paid = reward
            returns = lambda_return(
                paid, cont, next_value, discount=cfg.discount, lam=cfg.return_lambda
            )
        weight = discount_weights(
            torch.cat([start_cont.float().unsqueeze(1), cont], 1), discount=cfg.discount
        )[:, :-1]
        critic_loss = self._critic_loss(imagined.before, returns, weight)

        advantage = returns - value
        mean, std = self.advantage_moments.update(advantage.detach())
        if cfg.advantage_norm:
            advantage = (advantage - mean) / std
        policies = imagined.policies
        loss = actor_loss(
            lambda: policies.log_prob(imagined.drawn), advantage, weight, share=self.share
        )
        entropy = self.actor.entropy(policies)  # (N, H, A or 1), scaled to [0, 1]
        scale = self.entropy_scale.update(entropy.detach().mean((0, 1)))
        loss = loss - (weight * (scale * entropy).sum(-1)).mean()
        if cfg.mean_penalty and policies.raw is not None:
            loss = loss + cfg.mean_penalty * policies.raw.square().sum(-1).mean()
        metrics = {
            "actor_loss": loss.detach(),
            "critic_loss": critic_loss.detach(),
            "entropy": entropy.detach().mean(),
            "entropy_scale": scale.mean(),
            "imagined_reward": reward.detach().mean(),
            "imagined_return": returns.detach().mean(),
            "value": value.detach().mean(),
            "advantage_std": std,
            "action_abs": imagined.action.detach().abs().mean(),
        }
        return BehaviorLoss(loss, critic_loss, metrics)

    def _critic_loss(self, beliefs: Latent, returns: Tensor, weight: Tensor) -> Tensor:
        """Mean weighted squared error of the critic. Beliefs (H, N, ...), the rest (N, H)."""
        flat = beliefs.flatten()
        target, weight = (x.detach().t().reshape(-1) for x in (returns, weight))

        def part(rows: slice) -> Tensor:
            predicted = self.critic(Latent(*(x[rows] for x in flat))).squeeze(-1)
            error = symlog_error(predicted, target[rows], weight[rows])
            return error * len(predicted)

        return mean_in_chunks(len(target), target, part, self.critic)

    @torch.no_grad()
    def copy_slow_critic(self) -> None:
        """Make the slow critic equal to the critic."""
        for slow, fast in zip(self.slow_critic.parameters(), self.critic.parameters(), strict=True):
            slow.copy_(fast)
