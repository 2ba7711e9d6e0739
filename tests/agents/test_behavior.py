"""Behaviour in imagination: shapes, the options of its losses, who is normalised by what."""

from __future__ import annotations

import pytest
import torch

from daydreamer.agents.agent import Agent, build_agent, frozen
from daydreamer.agents.behavior import BehaviorLoss
from daydreamer.agents.config import AgentConfig
from daydreamer.models.rssm import Latent
from robots.base import ActionSpec, ArraySpec

SIZES = {
    "deter": 16, "units": 16, "stoch": 4, "classes": 4, "prior_layers": 1, "mlp_layers": 1,
    "mlp_units": 16, "horizon": 3,
}  # fmt: skip
KINDS = [ActionSpec("continuous", 2), ActionSpec("discrete", 3)]
N = 5


def make(action: ActionSpec, **options: object) -> Agent:
    cfg = AgentConfig(**{**SIZES, **options})  # type: ignore[arg-type]
    return build_agent(cfg, {"vector": ArraySpec((3,))}, action, seed=0)


def starts() -> Latent:
    g = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, 4, (N, 4), generator=g)
    z = torch.nn.functional.one_hot(drawn, 4).float().flatten(1)
    return Latent(torch.randn(N, 16, generator=g).tanh(), z, drawn + torch.arange(0, 16, 4))


def say(head: torch.nn.Module, value: float) -> None:
    """Make a head say `value` whatever it sees."""
    last = head.blocks[-1]  # type: ignore[union-attr,index]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, value)


def loss(agent: Agent, seed: int = 0) -> BehaviorLoss:
    generator = torch.Generator().manual_seed(seed)
    with frozen(agent.model):
        return agent.behavior.loss(agent.model, starts(), torch.ones(N), torch.zeros(()), generator)


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_imagination_starts_at_the_replayed_state_and_goes_on_for_the_horizon(
    action: ActionSpec,
) -> None:
    agent, start = make(action), starts()
    imagined = agent.behavior.imagine(agent.model, start, torch.Generator().manual_seed(0))
    assert imagined.ahead.feat.shape == imagined.before.feat.shape == (3, N, 16 + 16)
    assert torch.equal(imagined.before.feat[0], start.feat)
    assert torch.equal(imagined.before.feat[1:], imagined.ahead.feat[:-1])
    assert imagined.action.shape == (N, 3, action.size)
    shapes = [x.shape for x in imagined.policies if x is not None]
    assert shapes == [(N, 3, action.size)] * (3 if action.kind == "continuous" else 1)
    if action.kind == "discrete":
        assert torch.equal(imagined.action.sum(-1), torch.ones(N, 3))
        assert imagined.policies.log_prob(imagined.action).shape == (N, 3)
    # What was chosen at one state led to the next.
    step = agent.model.rssm.imagine_step(start, imagined.action[:, 0], torch.rand(N, 4))
    torch.testing.assert_close(step.h, imagined.ahead.h[0])


def test_discrete_actions_become_likelier_where_the_advantage_is_positive() -> None:
    agent = make(KINDS[1], entropy_scale=0.0, advantage_norm=False)
    agent.behavior.entropy_scale.low = 0.0
    say(agent.model.reward, 1.0)  # every step pays, the slow critic expects nothing
    say(agent.behavior.slow_critic, 0.0)
    generator = torch.Generator().manual_seed(0)
    imagined = agent.behavior.imagine(agent.model, starts(), generator)
    before = imagined.policies.log_prob(imagined.action).mean()
    found = loss(agent).actor
    found.backward()
    agent.optimizers["actor"].step(found)
    with torch.no_grad():
        probs = agent.behavior.actor(imagined.before).probs.transpose(0, 1)
    assert (probs.log() * imagined.action).sum(-1).mean() > before


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_advantages_are_scaled_to_unit_deviation_unless_told_otherwise(action: ActionSpec) -> None:
    losses = []
    for norm in (False, True):
        agent = make(action, advantage_norm=norm, entropy_scale=0.0)
        agent.behavior.entropy_scale.low = 0.0
        for param in agent.model.reward.parameters():  # rewards that differ
            torch.nn.init.normal_(param, generator=torch.Generator().manual_seed(1))
        found = loss(agent)
        losses.append((found.actor.detach(), found.metrics["advantage_std"]))
    (plain, std), (scaled, same_std) = losses
    torch.testing.assert_close(std, same_std)
    assert not torch.allclose(plain, scaled)
    assert float(std) > 1e-3


def test_lambda_of_returns_is_an_option() -> None:
    # Reward 1, value e - 1, discount 0.5, survival: with lambda 0 each return is 1 + 0.5 (e - 1),
    # with 1 it is 1 + 0.5 (1 + 0.5 (1 + 0.5 (e - 1))) and shorter; means over the three steps.
    value = 1.718282
    expected = {
        0.0: 1 + 0.5 * value,
        1.0: (3 * 1 + 2 * 0.5 + 0.25 + (0.5 + 0.25 + 0.125) * value) / 3,
    }
    for lam, mean in expected.items():
        agent = make(KINDS[0], return_lambda=lam, discount=0.5)
        say(agent.model.reward, 0.693147)  # symexp: 1
        say(agent.model.cont, 50.0)
        say(agent.behavior.slow_critic, 1.0)
        assert float(loss(agent).metrics["imagined_return"]) == pytest.approx(mean, rel=1e-4)


def test_a_choice_keeps_the_share_of_uniform_that_its_option_says() -> None:
    agent = make(KINDS[1], actor_unimix=0.3)
    say(agent.behavior.actor.mlp, 0.0)
    with torch.no_grad():
        agent.behavior.actor.mlp.blocks[-1].bias[0] = 100.0  # type: ignore[index,union-attr]
        probs = agent.behavior.actor(starts()).probs
    torch.testing.assert_close(probs, torch.tensor([0.8, 0.1, 0.1]).expand(N, 3))


def test_the_critic_is_compared_with_the_symlog_of_the_return() -> None:
    # Reward 1 and then nothing (continuation 0): every return is 1, symlog 0.693147. The critic
    # says 0; the first weight is 1, the others 0: 0.693147^2 / 3 = 0.160151
    agent = make(KINDS[0])
    say(agent.model.reward, 0.693147)
    say(agent.model.cont, -50.0)
    say(agent.behavior.critic, 0.0)
    assert float(loss(agent).critic.detach()) == pytest.approx(0.160151, rel=1e-4)


def test_the_entropy_bonus_grows_while_entropy_is_below_its_target() -> None:
    # The deviation says sigmoid(0) of [0.1, 1]: entropy 0.740363 of 1.
    for target, factor in ((0.9, 1.1), (0.74, 1.0), (0.5, 1 / 1.1)):
        agent = make(KINDS[0], entropy_target=target, entropy_scale=0.5)
        say(agent.behavior.actor.mlp, 0.0)
        metrics = loss(agent).metrics
        assert float(metrics["entropy"]) == pytest.approx(0.740363, rel=1e-4)
        assert float(metrics["entropy_scale"]) == pytest.approx(0.5 * factor, rel=1e-5)


def test_a_start_that_ended_weighs_nothing_beside_others() -> None:
    agent = make(KINDS[0])
    for param in agent.model.reward.parameters():
        torch.nn.init.normal_(param, generator=torch.Generator().manual_seed(1))
    alive = torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])
    gradients = []
    for change in (0.0, 1.0):
        start = starts()
        start.h[1] += change  # whatever the ended one looks like
        with frozen(agent.model):
            found = agent.behavior.loss(
                agent.model, start, alive, torch.zeros(()), torch.Generator().manual_seed(0)
            )
        gradients.append(
            torch.autograd.grad(found.critic, list(agent.behavior.critic.parameters()))
        )
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)
