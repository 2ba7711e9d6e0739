"""What a robot runs: encoder, filter and actor, without anything that trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from daydreamer.agents.config import AgentConfig
from daydreamer.models.actor_head import ActorHead
from daydreamer.models.codec import Encoder
from daydreamer.models.latents import Categoricals, Gaussians, Latents
from daydreamer.models.networks import Act, BiasAct, NormAct
from daydreamer.models.rssm import RSSM, Latent
from robots.base import ActionSpec, ArraySpec


class PolicyState(NamedTuple):
    """Carried between two control steps: belief h (B, D), z (B, F), correlated noise (B, A)."""

    h: Tensor
    z: Tensor
    noise: Tensor


def build_act(cfg: AgentConfig) -> Act:
    """What follows every product inside a network."""
    return NormAct if cfg.norm == "layer" else BiasAct


def build_encoder(cfg: AgentConfig, observations: Mapping[str, ArraySpec]) -> Encoder:
    """The encoder that learner and actor share."""
    return Encoder(
        observations,
        mlp_layers=cfg.mlp_layers,
        mlp_units=cfg.mlp_units,
        cnn_depth=cfg.cnn_depth,
        symlog_vectors=cfg.symlog_vectors,
        act=build_act(cfg),
    )


def build_latents(cfg: AgentConfig) -> Latents:
    """The distribution of z."""
    if cfg.latents == "gaussian":
        return Gaussians(cfg.stoch)
    return Categoricals(cfg.stoch, cfg.classes, cfg.unimix)


def build_rssm(cfg: AgentConfig, embed_size: int, action: ActionSpec) -> RSSM:
    """The recurrent model that learner and actor share."""
    return RSSM(
        action_size=action.size,
        embed_size=embed_size,
        deter=cfg.deter,
        units=cfg.units,
        latents=build_latents(cfg),
        prior_layers=cfg.prior_layers,
        post_layers=cfg.post_layers,
        initial=cfg.initial,
        act=build_act(cfg),
        gru_norm=cfg.gru_norm,
    )


def build_actor_head(cfg: AgentConfig, feat_size: int, action: ActionSpec) -> ActorHead:
    """The actor that learner and actor process share."""
    return ActorHead(
        feat_size,
        action,
        layers=cfg.mlp_layers,
        units=cfg.mlp_units,
        min_std=cfg.min_std,
        max_std=cfg.max_std,
        unimix=cfg.actor_unimix,
        act=build_act(cfg),
    )


class Policy(nn.Module):
    """One control step of behaviour: look, update the belief, choose."""

    def __init__(
        self, encoder: Encoder, rssm: RSSM, actor: ActorHead, *, noise_correlation: float = 0.0
    ) -> None:
        """noise_correlation: of a continuous action's noise from one step to the next."""
        super().__init__()
        self.noise_correlation = noise_correlation if actor.continuous else 0.0
        self.encoder, self.actor = encoder, actor
        self.cell, self.posterior = rssm.cell, rssm.posterior
        self.latents = rssm.latents
        # The prior stays behind: all that the robot needs of it is the first belief.
        start = rssm.initial()
        self.register_buffer("initial_h", start.h.detach().clone())
        self.register_buffer("initial_z", start.z.detach().clone())

    def initial(self, batch: int = 1) -> PolicyState:
        """The belief before anything was seen."""
        h, z = self.get_buffer("initial_h"), self.get_buffer("initial_z")
        h, z = h.expand(batch, -1), z.expand(batch, -1)
        return PolicyState(h, z, h.new_zeros(batch, self.actor.action.size))

    @torch.no_grad()
    def step(
        self,
        obs: Mapping[str, Tensor],
        prev_action: Tensor,
        is_first: Tensor,
        state: PolicyState,
        mode: str = "sample",
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, PolicyState]:
        """Choose an action. obs (B, ...), prev_action (B, A) as executed, is_first (B,) bool.

        mode "sample" draws the action, "mode" takes the likeliest; the latent is drawn in both, as
        it was in training. Returns action (B, A) in [-1, 1] or one-hot, and the new belief.
        """
        if mode not in ("sample", "mode"):
            raise ValueError(f"mode={mode!r}: choose sample or mode")
        first = is_first.unsqueeze(-1)
        start = self.initial()
        h = torch.where(first, start.h, state.h)
        z = torch.where(first, start.z, state.z)
        action_share = self.cell.from_action(prev_action.masked_fill(first, 0.0))
        embed_share = self.posterior.from_embed(self.encoder(obs))
        h = self.cell(h, z, action_share)
        size = h.shape[0], self.latents.stoch
        luck = self.latents.noise(size, generator=generator, device=h.device)
        z, index = self.latents.draw(self.posterior(h, embed_share), luck)
        feat = Latent(h, z, index)
        policies = self.actor(feat)
        noise, past = self.actor.noise_like(h, generator), state.noise
        if self.noise_correlation:
            # Same spread, slower: white noise would vanish in what a body filters its targets with.
            rho = self.noise_correlation
            slow = rho * past + math.sqrt(1 - rho**2) * noise
            noise = past = torch.where(first, noise, slow)
        if mode == "mode":
            action = policies.mode()
        else:
            action = self.actor.sample(policies, noise)
            if self.actor.continuous:
                action = action.clamp(-1, 1)
        return action, PolicyState(h, z, past)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every weight as a float32 array, as it is shipped."""
        return {
            name: x.detach().to("cpu", torch.float32).contiguous().numpy()
            for name, x in self.state_dict().items()
        }

    def load_arrays(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        """Take the weights of arrays(). Raises ValueError naming what does not fit."""
        own = self.state_dict()
        wrong = [f"{name} is missing" for name in own.keys() - arrays.keys()]
        wrong += [f"{name} is not part of this policy" for name in arrays.keys() - own.keys()]
        wrong += [
            f"{name} has shape {arrays[name].shape}, expected {tuple(own[name].shape)}"
            for name in own.keys() & arrays.keys()
            if tuple(arrays[name].shape) != tuple(own[name].shape)
        ]
        if wrong:
            raise ValueError(
                "these weights belong to another policy: " + "; ".join(sorted(wrong)[:5])
                + ". Give actor and learner the same task, agent and size."
            )  # fmt: skip
        with torch.no_grad():
            for name, x in own.items():
                x.copy_(torch.from_numpy(np.array(arrays[name], copy=True)))


def build_policy(
    cfg: AgentConfig, observations: Mapping[str, ArraySpec], action: ActionSpec
) -> Policy:
    """A policy with fresh weights, ready for load_arrays()."""
    encoder = build_encoder(cfg, observations)
    rssm = build_rssm(cfg, encoder.embed_size, action)
    actor = build_actor_head(cfg, rssm.feat_size, action)
    return Policy(encoder, rssm, actor, noise_correlation=cfg.noise_correlation).eval()
