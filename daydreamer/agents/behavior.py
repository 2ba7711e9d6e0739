"""Behaviour learned in imagination: actor, critic, slow critic."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from daydreamer.agents.adapt import AdaptiveScale, RunningMoments
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.losses import (
    discount_weights,
    lambda_return,
    pathwise_actor_loss,
    reinforce_actor_loss,
    symlog_error,
)
from daydreamer.agents.world_model import WorldModel
from daydreamer.models.actor_head import Policies
from daydreamer.models.distributions import symexp
from daydreamer.models.networks import MLP
from daydreamer.models.policy import build_actor_head
from daydreamer.models.rssm import Latent
from robots.base import ActionSpec


class Imagined(NamedTuple):
    """N starts, H steps. feat (H+1, N, F), action (N, H, A); policies hold (N, H, ...).

    Features are time first: leaving out the first or the last step then copies nothing.
    """

    feat: Tensor
    action: Tensor
    policies: Policies


class BehaviorLoss(NamedTuple):
    """Two scalars to minimise, each for its own parameters, and metrics."""

    actor: Tensor
    critic: Tensor
    metrics: dict[str, Tensor]


def _read(head: nn.Module, feat: Tensor) -> Tensor:
    """One number a state: feat (T, N, F) -> (N, T), float32."""
    out: Tensor = head(feat.flatten(0, 1)).float().view(feat.shape[:2])
    return out.transpose(0, 1)


class Behavior(nn.Module):
    """Actor and critics over features of a world model."""

    def __init__(self, cfg: AgentConfig, feat_size: int, action: ActionSpec) -> None:
        super().__init__()
        self.cfg = cfg
        self.actor = build_actor_head(cfg, feat_size, action)
        self.critic = MLP(feat_size, cfg.mlp_units, cfg.mlp_layers, 1)
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.entropy_scale = AdaptiveScale(
            cfg.entropy_target,
            hold="up",
            initial=cfg.entropy_scale,
            low=1e-5,
            shape=(action.size if self.actor.continuous else 1,),
        )
        self.advantage_moments = RunningMoments()
        self.reward_moments = RunningMoments(0.999)

    def imagine(self, model: WorldModel, start: Latent, generator: torch.Generator) -> Imagined:
        """Roll the policy through the model from start (N, ...).

        The policy sees sg(feat): its gradient reaches earlier actions only through the dynamics.
        Discrete actions carry no gradient, so their rollout keeps no graph.
        """
        feats, actions, policies = [start.feat], [], []
        latent = start
        with torch.set_grad_enabled(self.actor.continuous):
            for _ in range(self.cfg.horizon):
                seen = feats[-1].detach()
                chosen = self.actor(seen)
                action = self.actor.sample(chosen, self.actor.noise_like(seen, generator))
                if self.cfg.clip_imagined:
                    # Straight-through, or the gradient of a clipped action would vanish.
                    action = action + (action.clamp(-1, 1) - action).detach()
                uniform = torch.rand(
                    len(seen), model.rssm.latents.stoch, generator=generator, device=seen.device
                )
                latent = model.rssm.imagine_step(latent, action, uniform)
                feats.append(latent.feat)
                actions.append(action)
                policies.append(chosen)
        feat = torch.stack(feats)
        if self.actor.continuous:
            parts = zip(*policies, strict=True)
            stacked = Policies(*(None if p[0] is None else torch.stack(p, 1) for p in parts))
        else:
            stacked = Policies(
                None, None, None, self.actor(feat[:-1].detach()).probs.transpose(0, 1)
            )
        return Imagined(feat, torch.stack(actions, 1), stacked)

    def loss(
        self,
        model: WorldModel,
        start: Latent,
        start_cont: Tensor,
        replayed_reward: Tensor,
        generator: torch.Generator,
    ) -> BehaviorLoss:
        """start: beliefs (N, ...) without gradient; start_cont (N,): true 1 - is_terminal there.

        replayed_reward: of the batch, any shape; its running mean centers imagined rewards.
        The model must be frozen by the caller (requires_grad off): only actor and critic learn.
        """
        cfg = self.cfg
        imagined = self.imagine(model, start, generator)
        with torch.set_grad_enabled(self.actor.continuous):
            reward = symexp(_read(model.reward, imagined.feat[1:]))
            cont = torch.sigmoid(_read(model.cont, imagined.feat[1:]))
            value = symexp(_read(self.slow_critic, imagined.feat))
            paid = reward
            if cfg.center_rewards:
                mean_reward, _ = self.reward_moments.update(replayed_reward)
                paid = (reward - mean_reward) * (1 - cfg.discount)
            returns = lambda_return(
                paid, cont, value[:, 1:], discount=cfg.discount, lam=cfg.return_lambda
            )
        weight = discount_weights(
            torch.cat([start_cont.float().unsqueeze(1), cont], 1), discount=cfg.discount
        )[:, :-1]
        predicted = _read(self.critic, imagined.feat[:-1].detach())
        critic_loss = symlog_error(predicted, returns, weight)

        advantage = returns - value[:, :-1]
        mean, std = self.advantage_moments.update(advantage.detach())
        if cfg.advantage_norm:
            advantage = (advantage - mean) / std
        if self.actor.continuous:
            actor_loss = pathwise_actor_loss(advantage, weight)
        else:
            log_prob = imagined.policies.log_prob(imagined.action)
            actor_loss = reinforce_actor_loss(log_prob, advantage, weight)
        entropy = self.actor.entropy(imagined.policies)  # (N, H, A or 1), scaled to [0, 1]
        scale = self.entropy_scale.update(entropy.detach().mean((0, 1)))
        actor_loss = actor_loss - (weight * (scale * entropy).sum(-1)).mean()
        if cfg.mean_penalty and imagined.policies.raw is not None:
            actor_loss = (
                actor_loss + cfg.mean_penalty * imagined.policies.raw.square().sum(-1).mean()
            )
        metrics = {
            "actor_loss": actor_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "entropy": entropy.detach().mean(),
            "entropy_scale": scale.mean(),
            "imagined_reward": reward.detach().mean(),
            "imagined_return": returns.detach().mean(),
            "value": value.detach().mean(),
            "advantage_std": std,
            "action_abs": imagined.action.detach().abs().mean(),
        }
        return BehaviorLoss(actor_loss, critic_loss, metrics)

    @torch.no_grad()
    def copy_slow_critic(self) -> None:
        """Make the slow critic equal to the critic."""
        for slow, fast in zip(self.slow_critic.parameters(), self.critic.parameters(), strict=True):
            slow.copy_(fast)
