"""Losses and targets as pure functions of tensors and plain numbers.

B batch, T time in replay, H imagined horizon. Tested against numbers worked out by hand in
tests/agents/test_losses.py.

    # index     0        1        2      ...  H
    # feat      s0 ----> s1 ----> s2          sH    s0 comes from replay, the rest is imagined
    # action    a0       a1       a2                a_k is chosen at s_k and leads to s_k+1
    # reward             r1       r2          rH    read at the state arrived at
    # return    R0       R1       R2                R_k = r_k+1 + discount c_k+1 (...)
    # weight    w0       w1       w2                w_k = c_0 * prod of (discount c_j), 1 <= j <= k
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from daydreamer.models.distributions import categorical_kl, symlog


class BalancedKL(NamedTuple):
    """Both are means over all leading dimensions, in nats; their values differ only in gradient."""

    loss: Tensor
    nats: Tensor  # KL(post || prior) without gradient


def balanced_kl(
    post: Tensor,
    prior: Tensor,
    *,
    balance: float,
    kl: Callable[[Tensor, Tensor], Tensor] = categorical_kl,
) -> BalancedKL:
    """DreamerV2's balanced KL. post, prior: stats of which kl(p, q) makes one number a belief.

    balance weighs KL(sg(post) || prior), which trains the prior; 1 - balance weighs
    KL(post || sg(prior)), which trains the posterior.
    """
    to_prior = kl(post.detach(), prior).mean()
    to_post = kl(post, prior.detach()).mean()
    return BalancedKL(balance * to_prior + (1 - balance) * to_post, to_prior.detach())


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Sum over all but the first dimension, mean over the first; no half (DayDreamer)."""
    error = (prediction.float() - target.float()).square()
    return error.reshape(len(error), -1).sum(-1).mean()


def symlog_error(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean of weight * (prediction - symlog(sg(target)))^2; all of one shape."""
    error = (prediction.float() - symlog(target.detach().float())).square()
    return (error if weight is None else weight * error).mean()


def continue_loss(logits: Tensor, is_terminal: Tensor) -> Tensor:
    """Mean Bernoulli loss of 1 - is_terminal, same shapes. A time-out is no end."""
    return F.binary_cross_entropy_with_logits(logits.float(), 1.0 - is_terminal.float())


def lambda_return(
    reward: Tensor, cont: Tensor, next_value: Tensor, *, discount: float, lam: float
) -> Tensor:
    """TD(lambda) targets R_0 .. R_H-1, (B, H). All (B, H), entry k belonging to state k + 1.

    R_k = reward_k + discount cont_k ((1 - lam) next_value_k + lam R_k+1), R_H = last next_value.
    """
    target, targets = next_value[:, -1], []
    for k in reversed(range(reward.shape[1])):
        bootstrap = (1 - lam) * next_value[:, k] + lam * target
        target = reward[:, k] + discount * cont[:, k] * bootstrap
        targets.append(target)
    return torch.stack(targets[::-1], dim=1)


def discount_weights(cont: Tensor, *, discount: float) -> Tensor:
    """How much an imagined state still counts, without gradient: (B, H+1).

    cont (B, H+1), its first column true.

    cumprod(discount * cont) / discount: the first weight is cont_0, so a terminal start has none.
    """
    return (torch.cumprod(discount * cont.detach(), dim=1) / discount).detach()


def actor_loss(
    log_prob: Callable[[], Tensor], advantage: Tensor, weight: Tensor, *, share: float
) -> Tensor:
    """Share * reinforce + (1 - share) * pathwise; what weighs nothing is not computed.

    log_prob(), advantage, weight: all (B, H).
    """
    if share == 0:
        return pathwise_actor_loss(advantage, weight)
    reinforce = reinforce_actor_loss(log_prob(), advantage, weight)
    if share == 1:
        return reinforce
    return share * reinforce + (1 - share) * pathwise_actor_loss(advantage, weight)


def pathwise_actor_loss(advantage: Tensor, weight: Tensor) -> Tensor:
    """-mean(weight * advantage), differentiated through the dynamics. Both (B, H)."""
    return -(weight * advantage).mean()


def reinforce_actor_loss(log_prob: Tensor, advantage: Tensor, weight: Tensor) -> Tensor:
    """-mean(weight * log_prob * sg(advantage)). All (B, H)."""
    return -(weight * log_prob * advantage.detach()).mean()
