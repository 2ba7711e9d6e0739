"""The world model: encoder, RSSM, decoder, reward and continue heads, and its loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from daydreamer.agents.adapt import AdaptiveScale
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.losses import balanced_kl, continue_loss, squared_error, symlog_error
from daydreamer.agents.ranks import ALONE, Ranks
from daydreamer.models.codec import Decoder
from daydreamer.models.distributions import symlog
from daydreamer.models.policy import build_act, build_encoder, build_rssm
from daydreamer.models.rssm import Latent, LatentMLP
from robots.base import ActionSpec, ArraySpec


class ModelLoss(NamedTuple):
    """The scalar to minimise, the beliefs (B, T, ...) it was computed on, and metrics."""

    loss: Tensor
    post: Latent
    metrics: dict[str, Tensor]


class WorldModel(nn.Module):
    """Predicts what a robot sees, earns and survives (DreamerV2 with DayDreamer's losses)."""

    def __init__(
        self,
        cfg: AgentConfig,
        observations: Mapping[str, ArraySpec],
        action: ActionSpec,
        ranks: Ranks = ALONE,
    ) -> None:
        super().__init__()
        self.cfg = cfg
        self.keys = sorted(observations)
        self.encoder = build_encoder(cfg, observations)
        self.rssm = build_rssm(cfg, self.encoder.embed_size, action)
        feat, act = self.rssm.feat_size, build_act(cfg)
        self.decoder = Decoder(
            observations,
            feat_size=feat,
            mlp_layers=cfg.mlp_layers,
            mlp_units=cfg.mlp_units,
            cnn_depth=cfg.cnn_depth,
            act=act,
        )
        self.reward = LatentMLP(feat, cfg.mlp_units, cfg.mlp_layers, 1, act=act)
        self.cont = LatentMLP(feat, cfg.mlp_units, cfg.mlp_layers, 1, act=act)
        self.kl_scale = AdaptiveScale(
            cfg.kl_target_nats,
            hold="down",
            adapt=cfg.kl_adapt,
            initial=cfg.kl_scale,
            low=1e-3,
            high=max(1.0, cfg.kl_scale),
            ranks=ranks,
        )

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Observations (B, T, ...) -> (B, T, E), all frames in one pass."""
        lead = batch["is_first"].shape
        flat: Tensor = self.encoder({key: batch[key].flatten(0, 1) for key in self.keys})
        embed: Tensor = flat.unflatten(0, lead)
        return embed

    def loss(self, batch: Mapping[str, Tensor], noise: Tensor) -> ModelLoss:
        """batch: rows (B, T, ...); noise (B, T, S) draws the latents. Adapts the KL scale."""
        cfg, latents = self.cfg, self.rssm.latents
        post, post_stats, prior_stats = self.rssm.observe(
            self.embed(batch), batch["action"], batch["is_first"], noise
        )
        feat = post.flatten()
        losses = {}
        seen = feat if cfg.decoder_gradient else feat.detach()
        for key, prediction in self.decoder(seen).items():
            target = batch[key].flatten(0, 1)
            if key in self.decoder.images:
                error = squared_error(prediction, target.float() / 255)
                losses[f"{key}_loss"] = cfg.image_scale * error
            else:
                target = symlog(target.float()) if cfg.symlog_vectors else target
                losses[f"{key}_loss"] = cfg.vector_scale * squared_error(prediction, target)
        reward = self.reward(feat if cfg.reward_gradient else feat.detach()).squeeze(-1)
        # A first row's reward was earned by no action in the window: nothing could predict it.
        earned = (~batch["is_first"].flatten()).float()
        losses["reward_loss"] = cfg.reward_scale * symlog_error(
            reward, batch["reward"].flatten(), earned
        )
        cont = self.cont(feat).squeeze(-1)
        losses["cont_loss"] = cfg.cont_scale * continue_loss(cont, batch["is_terminal"].flatten())
        kl = balanced_kl(post_stats, prior_stats, balance=cfg.kl_balance, kl=latents.kl)
        kl_scale = self.kl_scale.update(kl.nats)
        losses["kl_loss"] = kl_scale * kl.loss
        metrics = {name: x.detach() for name, x in losses.items()}
        metrics["kl_nats"] = kl.nats
        metrics["kl_scale"] = kl_scale
        metrics["post_entropy_nats"] = latents.entropy(post_stats.detach()).mean()
        metrics["prior_entropy_nats"] = latents.entropy(prior_stats.detach()).mean()
        return ModelLoss(torch.stack(list(losses.values())).sum(), post, metrics)
