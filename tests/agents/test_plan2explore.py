"""Plan2Explore: what disagreement is, who learns from what, and which policy is sent out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, build_agent, frozen
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.plan2explore import Ensemble, Explorer
from daydreamer.models.rssm import Latent
from robots.base import ActionSpec, ArraySpec

SIZES = {
    "deter": 8, "units": 8, "stoch": 4, "classes": 4, "prior_layers": 1, "mlp_layers": 1,
    "mlp_units": 16, "horizon": 3, "explore_models": 3,
}  # fmt: skip
KINDS = [ActionSpec("continuous", 2), ActionSpec("discrete", 3)]
B, T = 4, 6


def config(**options: object) -> AgentConfig:
    return AgentConfig(**{**SIZES, **options})  # type: ignore[arg-type]


def make(action: ActionSpec = KINDS[0], **options: object) -> Agent:
    cfg = config(**{"explore_updates": 2, **options})
    return build_agent(cfg, {"vector": ArraySpec((3,))}, action, seed=0)


def rows(action: ActionSpec = KINDS[0], seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(B, T, action.size, generator=g) * 2 - 1
    if action.kind == "discrete":
        chosen = torch.nn.functional.one_hot(chosen.argmax(-1), action.size).float()
    batch = {
        "vector": torch.randn(B, T, 3, generator=g),
        "action": chosen,
        "reward": torch.randn(B, T, generator=g),
        "is_first": torch.zeros(B, T, dtype=torch.bool),
        "is_terminal": torch.zeros(B, T, dtype=torch.bool),
    }
    batch["is_first"][:, 0] = True
    return batch


def beliefs(*lead: int, seed: int = 0) -> Latent:
    g = torch.Generator().manual_seed(seed)
    drawn = torch.randint(0, 4, (*lead, 4), generator=g)
    z = torch.nn.functional.one_hot(drawn, 4).float().flatten(-2)
    h = torch.randn(*lead, 8, generator=g).tanh()
    return Latent(h, z, drawn + torch.arange(0, 16, 4))


def explore(agent: Agent) -> Explorer:
    assert agent.explorer is not None
    return agent.explorer


def say(member: torch.nn.Module, value: float) -> None:
    """Make a member guess `value` everywhere."""
    last = member.blocks[-1]  # type: ignore[union-attr,index]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, value)


def test_disagreement_is_the_standard_deviation_of_the_guesses() -> None:
    ensemble = Ensemble(config(explore_models=3), 16)
    for member, value in zip(ensemble.members, (1.0, 2.0, 6.0), strict=True):
        say(member, value)
    # Mean 3, squares 4 + 1 + 9 = 14, over three: 4.6667, root 2.1602, alike in all 16 numbers.
    torch.testing.assert_close(ensemble(beliefs(5)), torch.full((5, 1), 2.160247))


def test_members_that_agree_to_the_last_bit_have_a_finite_slope() -> None:
    ensemble = Ensemble(config(), 16)
    for member in ensemble.members:
        say(member, 1.0)
    seen = beliefs(5)
    seen.h.requires_grad_()
    ensemble(seen).sum().backward()
    assert seen.h.grad is not None
    assert seen.h.grad.isfinite().all()


def test_members_are_wrong_by_what_they_should_have_guessed_and_first_rows_do_not_count() -> None:
    ensemble = Ensemble(config(explore_models=2), 16)
    say(ensemble.members[0], 0.0)
    say(ensemble.members[1], 1.0)
    post = beliefs(2, 4)
    is_first = torch.zeros(2, 4, dtype=torch.bool)
    # Of 16 numbers 4 are one: guesses of 0 are wrong by 4, guesses of 1 by 12, in the mean by 8.
    assert ensemble.loss(post, is_first).item() == pytest.approx(8.0)
    is_first[:, 0] = True  # two rows of eight
    assert ensemble.loss(post, is_first).item() == pytest.approx(6.0)


def test_what_was_seen_often_is_agreed_on_and_what_was_not_is_not() -> None:
    torch.manual_seed(0)
    ensemble = Ensemble(config(explore_models=5), 16)
    known, unknown = beliefs(64, 1, seed=1), beliefs(64, seed=2)
    known.h.abs_()  # one corner of the space
    unknown.h.abs_().neg_()
    adam = torch.optim.Adam(ensemble.parameters(), lr=1e-2)
    for _ in range(150):
        adam.zero_grad()
        ensemble.loss(known, torch.zeros(64, 1, dtype=torch.bool)).backward()
        adam.step()
    assert ensemble(known.flatten()).mean() < 0.5 * ensemble(unknown).mean()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_exploring_is_paid_in_units_of_the_mean_disagreement_and_a_share_of_the_reward(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = make(explore_extrinsic=share)
    explorer = explore(agent)
    paid: dict[str, Tensor] = {}

    def loss(*args: object, pay: object, **kwargs: object) -> None:
        # Disagreement 2 and 6: their mean is 4, so they pay 0.5 and 1.5.
        spread = torch.tensor([[2.0, 6.0]])
        monkeypatch.setattr("daydreamer.agents.plan2explore.read", lambda *_: spread)
        paid["found"] = pay(beliefs(2, 1), torch.tensor([[10.0, 20.0]]))  # type: ignore[operator]
        raise StopIteration

    monkeypatch.setattr(explorer.behavior, "loss", loss)
    post = beliefs(B, T)
    with pytest.raises(StopIteration):
        explorer(
            agent.model, post, rows()["is_first"], post.flatten(), torch.ones(B * T),
            agent.generator,
        )  # fmt: skip
    expected = torch.tensor([[0.5, 1.5]]) * (1 - share) + torch.tensor([[10.0, 20.0]]) * share
    torch.testing.assert_close(paid["found"], expected)


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_ensemble_actor_and_critic_learn_and_nothing_else_does(action: ActionSpec) -> None:
    agent = make(action)
    explorer = explore(agent)
    post = beliefs(B, T)
    with frozen(agent.model):
        loss = explorer(
            agent.model, post, rows(action)["is_first"], post.flatten(), torch.ones(B * T),
            agent.generator,
        )  # fmt: skip
        (loss.ensemble + loss.actor + loss.critic).backward()
    for module in (explorer.ensemble, explorer.behavior.actor, explorer.behavior.critic):
        assert all(p.grad is not None for p in module.parameters())
    for module in (agent.model, agent.behavior, explorer.behavior.slow_critic):
        assert all(p.grad is None for p in module.parameters())


def test_a_continuous_explorer_climbs_the_disagreement_through_the_dynamics() -> None:
    agent = make(entropy_scale=0.0)
    explorer = explore(agent)
    explorer.behavior.entropy_scale.low = 0.0
    for param in explorer.parameters():
        if param.ndim == 2:
            torch.nn.init.normal_(param, std=0.5)
    post = beliefs(B, T)
    with frozen(agent.model):
        loss = explorer(
            agent.model, post, rows()["is_first"], post.flatten(), torch.ones(B * T),
            agent.generator,
        )  # fmt: skip
        loss.actor.backward()
    last = explorer.behavior.actor.mlp.blocks[-1]
    assert isinstance(last, torch.nn.Module)
    assert all(p.grad is not None and p.grad.any() for p in last.parameters())


def test_the_world_model_does_not_feel_whether_exploring_is_on() -> None:
    plain, exploring = make(explore_updates=0), make()
    for agent in (plain, exploring):
        agent.update(rows())
    pairs = zip(plain.model.parameters(), exploring.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert plain.explorer is None


def test_the_explorer_is_sent_out_at_first_and_the_task_s_policy_afterwards() -> None:
    agent = make(explore_updates=2)
    name = "actor.mlp.blocks.0.weight"
    own, other = explore(agent).behavior.actor, agent.behavior.actor
    for _ in range(2):
        assert agent.explores
        sent, best = agent.collector_arrays(), agent.policy_arrays()
        assert (sent[name] == own.state_dict()["mlp.blocks.0.weight"].numpy()).all()
        assert (best[name] == other.state_dict()["mlp.blocks.0.weight"].numpy()).all()
        assert (sent[name] != best[name]).any()
        assert sent.keys() == best.keys()
        agent.update(rows())
    assert not agent.explores
    assert (agent.collector_arrays()[name] == agent.policy_arrays()[name]).all()


def test_after_exploring_its_networks_are_left_alone() -> None:
    agent = make(explore_updates=1)
    assert any(key.startswith("explore/") for key in agent.update(rows()))
    before = copy.deepcopy(explore(agent).state_dict())
    assert not any(key.startswith("explore/") for key in agent.update(rows()))
    assert all(torch.equal(x, before[key]) for key, x in explore(agent).state_dict().items())


def test_an_exploring_run_resumes_exactly() -> None:
    straight, resumed = make(explore_updates=9), make(explore_updates=9)
    straight.update(rows())
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for seed in (1, 2):
        one, other = straight.update(rows(seed=seed)), resumed.update(rows(seed=seed))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_exploring_can_be_switched_on_and_off_between_two_starts() -> None:
    plain, exploring = make(explore_updates=0), make(explore_updates=9)
    plain.update(rows())
    exploring.load_state_dict(plain.state_dict())
    exploring.update(rows())
    plain.load_state_dict(exploring.state_dict())
    assert plain.updates == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [("explore_updates", -1), ("explore_models", 0), ("explore_extrinsic", 1.5)],
)
def test_values_that_make_no_sense_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"agent.{key}={value}"):
        config(**{key: value})
