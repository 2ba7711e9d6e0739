"""How well an agent knows episodes that it was not trained on (docs/learning_health.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, frozen
from daydreamer.agents.open_loop import (
    CONTEXT,
    as_predicted,
    dream,
    latent_noise,
    open_loop_metrics,
    predict,
    predict_reward,
)
from daydreamer.models.casting import computing_in
from daydreamer.models.distributions import categorical_entropy
from daydreamer.models.latents import Categoricals
from daydreamer.models.rssm import Latent

DREAMS = 4  # of each window: their mean is the prediction
SHOWN = 4  # windows that are drawn
STARTS = 256  # beliefs that returns are imagined from
DEAD_SHARE = 0.01  # of ln C nats: a latent that tells less about its row carries nothing


class Shown(NamedTuple):
    """What there is to draw, on the CPU: M windows of T rows."""

    truth: dict[str, Tensor]  # (M, T, *shape); images in [0, 1]
    dreams: dict[str, Tensor]  # (R, M, T, *shape)
    length: Tensor  # (M,) rows of each window
    spread: dict[str, float]  # variance of each key over the rows held out
    context: int  # rows seen before the dream begins


class Health(NamedTuple):
    """Figures by name, without the prefix health/, and what there is to draw."""

    metrics: dict[str, float]
    shown: Shown


def examine(
    agent: Agent,
    batch: Mapping[str, Tensor],
    length: Tensor,
    spread: Mapping[str, float],
    generator: torch.Generator,
) -> Health:
    """Everything about N held-out windows (N, T, ...) of `length` (N,) rows, newest first.

    spread: variance of each observation and of the reward; images in units of [0, 1]. Changes
    nothing of the agent, and draws from `generator` alone. While the agent explores there are no
    figures of returns: the rows are another policy's than the one that would be imagined.
    """
    model, device = agent.model, agent.device
    batch = {key: x.to(device) for key, x in batch.items()}
    length = length.to(device)
    with (
        torch.no_grad(),
        # Behavior.imagine() would keep a graph for the actor's sake.
        frozen(model),
        frozen(agent.behavior),
        computing_in(agent.dtype, device),
    ):
        noise = latent_noise(model, *batch["is_first"].shape, generator=generator)
        seen, post, prior = model.rssm.observe(
            model.embed(batch), batch["action"], batch["is_first"], noise
        )
        beliefs = dream(model, seen, batch["action"], generator, dreams=DREAMS)
        found = open_loop_metrics(model, beliefs, batch, length, spread)
        metrics = {f"open_loop/{name}": x for name, x in found.items()}
        if not agent.explores:
            metrics.update(_returns(agent, seen, batch, length, generator))
        if isinstance(model.rssm.latents, Categoricals):
            there = torch.arange(post.shape[1], device=device) < length.unsqueeze(1)
            metrics.update(latent_health(post[there], prior[there]))
        # The longest windows show most.
        order = torch.argsort(length, descending=True, stable=True)[:SHOWN]
        dreams = predict(model, Latent(*(x[:, order] for x in beliefs)))
    truth = {key: as_predicted(model, key, batch[key][order]).cpu() for key in dreams}
    shown = Shown(
        truth,
        {key: x.cpu() for key, x in dreams.items()},
        length[order].cpu(),
        dict(spread),
        CONTEXT,
    )
    return Health(metrics, shown)


def latent_health(post: Tensor, prior: Tensor) -> dict[str, float]:
    """Of categorical latents; post, prior (N, S, C) probabilities in N beliefs.

    A variable is dead if its posterior tells less than DEAD_SHARE of ln C nats about which row it
    belongs to: H(mean of p) - mean of H(p), which is 0 both for a constant and for mere noise.
    """
    tells = categorical_entropy(post.mean(0)) - categorical_entropy(post).mean(0)  # (S,)
    kl = (post * (post.log() - prior.log())).sum(-1).mean(0)  # (S,)
    dead = tells < DEAD_SHARE * math.log(post.shape[-1])
    return {
        "dead_latents": float(dead.float().mean()),
        "kl_per_latent_max": float(kl.max()),
        "kl_nats": float(kl.sum()),
    }


def real_returns(
    reward: Tensor, is_terminal: Tensor, length: Tensor, horizon: int
) -> tuple[Tensor, Tensor]:
    """(sum of the next `horizon` rewards, whether they are known), each (N, T), of each row.

    A row near the end of its window is known only where the episode has terminated there.
    """
    rows, steps = reward.shape
    t = torch.arange(steps, device=reward.device)
    last = (length - 1).unsqueeze(1)
    inside = torch.where(t <= last, reward.double(), 0.0)
    upto = torch.cat([inside.new_zeros(rows, 1), inside.cumsum(1)], 1)  # (N, T+1): rows before
    end = torch.minimum(t + horizon, last).clamp_min(0)
    total = upto.gather(1, end + 1) - upto[:, 1:]
    terminates = is_terminal.gather(1, last)
    known = (t + horizon <= last) | (terminates & (t < last))
    return total.float(), known


def imagined_returns(reward: Tensor, cont: Tensor) -> Tensor:
    """(N,) from what was imagined, (N, H): a reward counts as far as the episode goes on until it.

    cont: chance that it goes on after the state arrived at.
    """
    alive = torch.cat([torch.ones_like(cont[:, :1]), cont[:, :-1]], 1).cumprod(1)
    return (reward * alive).sum(1)


def compare_returns(imagined: Tensor, real: Tensor) -> dict[str, float]:
    """Both (N,). The correlation is left out where one of them does not vary."""
    found = {
        "imagined_return": float(imagined.mean()),
        "real_return": float(real.mean()),
        "real_return_std": float(real.std(correction=0)),
        "return_gap": float((imagined - real).mean()),
    }
    a, b = imagined - imagined.mean(), real - real.mean()
    scale = float(a.norm() * b.norm())
    if scale > 1e-6 * max(1.0, float(real.abs().max())) ** 2:
        found["return_correlation"] = float((a * b).sum()) / scale
    return found


def _returns(
    agent: Agent,
    seen: Latent,
    batch: Mapping[str, Tensor],
    length: Tensor,
    generator: torch.Generator,
) -> dict[str, float]:
    model = agent.model
    real, known = real_returns(batch["reward"], batch["is_terminal"], length, agent.cfg.horizon)
    known[:, : CONTEXT - 1] = False  # what the belief rests on is one row or two
    row, t = torch.nonzero(known, as_tuple=True)
    if not len(row):
        return {}
    chosen = torch.linspace(0, len(row) - 1, min(STARTS, len(row)), device=row.device).long()
    row, t = row[chosen], t[chosen]
    imagined = agent.behavior.imagine(model, Latent(*(x[row, t] for x in seen)), generator)
    ahead = imagined.ahead.flatten()
    shape = imagined.ahead.h.shape[:2]
    reward = predict_reward(model, ahead).view(shape).t()
    cont = torch.sigmoid(model.cont(ahead).squeeze(-1).float()).view(shape).t()
    return compare_returns(imagined_returns(reward, cont), real[row, t])
