"""The actor's gradient: REINFORCE, back through the dynamics, or a mixture."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, build_agent, frozen
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.losses import actor_loss
from daydreamer.models.actor_head import Policies
from daydreamer.models.rssm import Latent
from robots.base import ActionSpec, ArraySpec

ARM, KEYS = ActionSpec("continuous", 2), ActionSpec("discrete", 3)
KINDS = pytest.mark.parametrize("action", [ARM, KEYS], ids=lambda a: a.kind)
N = 5


def make(action: ActionSpec, **options: Any) -> Agent:
    """No entropy bonus, and weights with which everything matters."""
    cfg = AgentConfig(
        deter=16, units=16, stoch=4, classes=4, prior_layers=1, mlp_layers=1, mlp_units=16,
        horizon=3, **{"entropy_scale": 0.0, "entropy_adapt": False, **options},
    )  # fmt: skip
    agent = build_agent(cfg, {"vector": ArraySpec((3,))}, action, seed=0)
    g = torch.Generator().manual_seed(1)
    for part in (agent.behavior, agent.model):
        for param in part.parameters():
            if param.ndim > 1:
                torch.nn.init.normal_(param, std=param.shape[1] ** -0.5, generator=g)
    return agent


def starts() -> Latent:
    g = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 4, (N, 4), generator=g)
    z = torch.nn.functional.one_hot(drawn, 4).float().flatten(1)
    return Latent(torch.randn(N, 16, generator=g).tanh(), z, drawn + torch.arange(0, 16, 4))


def gradient(agent: Agent) -> list[Tensor]:
    """Of the actor's loss in the actor's weights."""
    generator = torch.Generator().manual_seed(0)
    with frozen(agent.model):
        loss = agent.behavior.loss(agent.model, starts(), torch.ones(N), torch.zeros(()), generator)
    return list(torch.autograd.grad(loss.actor, list(agent.behavior.actor.parameters())))


def test_the_mixture_by_hand() -> None:
    # reinforce: -(1 * -0.5 * 2 + 0.5 * -1 * -4) / 2 = -0.5, pathwise: -(1 * 2 - 0.5 * 4) / 2 = 0
    log_prob = torch.tensor([[-0.5, -1.0]], requires_grad=True)
    advantage = torch.tensor([[2.0, -4.0]], requires_grad=True)
    weight = torch.tensor([[1.0, 0.5]])
    loss = actor_loss(lambda: log_prob, advantage, weight, share=0.25)
    assert float(loss.detach()) == pytest.approx(0.25 * -0.5 + 0.75 * 0.0)
    loss.backward()
    torch.testing.assert_close(log_prob.grad, 0.25 * torch.tensor([[-1.0, 1.0]]))
    torch.testing.assert_close(advantage.grad, 0.75 * torch.tensor([[-0.5, -0.25]]))


def test_what_weighs_nothing_is_not_computed() -> None:
    def never() -> Tensor:
        raise AssertionError("the log-probability was asked for")

    advantage, weight = torch.ones(1, 2, requires_grad=True), torch.ones(1, 2)
    actor_loss(never, advantage, weight, share=0.0)
    actor_loss(
        lambda: torch.ones(1, 2, requires_grad=True), advantage, weight, share=1.0
    ).backward()
    assert advantage.grad is None


@KINDS
def test_unset_it_is_reinforce_for_choices_and_backpropagation_for_numbers(
    action: ActionSpec,
) -> None:
    unset = gradient(make(action))
    said = gradient(make(action, reinforce_share=1.0 if action is KEYS else 0.0))
    assert all(torch.equal(a, b) for a, b in zip(unset, said, strict=True))


@KINDS
def test_a_share_mixes_both_gradients_of_the_same_dream(action: ActionSpec) -> None:
    pathwise, mixed, reinforce = (
        gradient(make(action, reinforce_share=share)) for share in (0.0, 0.3, 1.0)
    )
    for a, b, c in zip(pathwise, mixed, reinforce, strict=True):
        assert a.any()
        assert c.any()
        torch.testing.assert_close(b, 0.7 * a + 0.3 * c, rtol=1e-4, atol=1e-6)


@KINDS
def test_reinforce_sends_no_gradient_through_the_dynamics_and_the_rest_does(
    action: ActionSpec,
) -> None:
    for share, through in ((1.0, False), (0.5, True), (0.0, True)):
        agent = make(action, reinforce_share=share)
        with frozen(agent.model):
            imagined = agent.behavior.imagine(agent.model, starts(), agent.generator)
        found = (x.requires_grad for x in (imagined.ahead.h, imagined.ahead.z, imagined.action))
        assert list(found) == [through] * 3
        assert not imagined.drawn.requires_grad
        # Policies learn in any case: from the entropy, if from nothing else.
        assert agent.behavior.actor.entropy(imagined.policies).requires_grad


@KINDS
def test_the_share_changes_nothing_that_is_dreamt(action: ActionSpec) -> None:
    dreams = []
    for share in (0.0, 0.5, 1.0):
        agent = make(action, reinforce_share=share)
        generator = torch.Generator().manual_seed(3)
        with frozen(agent.model):
            dreams.append(agent.behavior.imagine(agent.model, starts(), generator))
    for other in dreams[1:]:
        assert torch.equal(other.action, dreams[0].action)
        torch.testing.assert_close(other.ahead.h, dreams[0].ahead.h)
        for a, b in zip(other.policies, dreams[0].policies, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b)


def test_reinforce_of_numbers_is_the_log_density_of_what_was_drawn_before_clipping() -> None:
    agent = make(ARM, reinforce_share=1.0, clip_imagined=True, max_std=5.0)
    with frozen(agent.model):
        imagined = agent.behavior.imagine(agent.model, starts(), agent.generator)
    mean, std = imagined.policies.mean, imagined.policies.std
    assert mean is not None
    assert std is not None
    assert imagined.action.abs().max() == 1.0
    assert torch.equal(imagined.action, imagined.drawn.clamp(-1, 1))
    assert imagined.drawn.abs().max() > 1.0
    expected = torch.distributions.Normal(mean, std).log_prob(imagined.drawn).sum(-1)
    torch.testing.assert_close(imagined.policies.log_prob(imagined.drawn), expected)


def test_both_ways_agree_on_average_about_numbers() -> None:
    # A return equal to the first of two actions: one more of its mean is worth 1.
    rows, noise = 200_000, torch.randn(200_000, 2, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.3, -0.2], requires_grad=True), torch.tensor([0.5, 1.0])
    policies = Policies(None, mean.expand(rows, 2), std.expand(rows, 2), None)
    action = policies.mean + policies.std * noise  # type: ignore[operator]
    for share in (0.0, 1.0):
        loss = actor_loss(
            lambda: policies.log_prob(action.detach()),
            action[:, 0] - 0.3,
            torch.ones(rows),
            share=share,
        )
        (slope,) = torch.autograd.grad(loss, mean, retain_graph=True)
        torch.testing.assert_close(slope, torch.tensor([-1.0, 0.0]), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_shares_that_are_none_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"agent\.reinforce_share=.*from 0 to 1, or null"):
        AgentConfig(reinforce_share=share)
