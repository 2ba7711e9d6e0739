"""Plan2Explore: what disagreement is, who learns from what, and which policy is sent out."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, build_agent, frozen
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.plan2explore import Ensemble, Explorer, ExplorerLoss
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


def make(action: ActionSpec = KINDS[0], seed: int = 0, **options: object) -> Agent:
    cfg = config(**{"explore_updates": 2, **options})
    return build_agent(cfg, {"vector": ArraySpec((3,))}, action, seed=seed)


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


def loss_of(agent: Agent, action: ActionSpec = KINDS[0]) -> ExplorerLoss:
    """What exploring minimises, of arbitrary beliefs and always the same dreams."""
    post, batch = beliefs(B, T), rows(action)
    with frozen(agent.model):
        loss: ExplorerLoss = explore(agent)(
            agent.model, post, batch["is_first"], post.flatten(), torch.ones(B * T),
            batch["reward"].mean(), torch.Generator().manual_seed(0),
        )  # fmt: skip
    return loss


def weights(agent: Agent) -> dict[str, Tensor]:
    """Of all that learns the task."""
    parts = {"model": agent.model, "behavior": agent.behavior}
    return {f"{p}.{k}": x for p, module in parts.items() for k, x in module.state_dict().items()}


def always(network: torch.nn.Module, value: float) -> None:
    """Make a network say `value` everywhere: a member of the ensemble, or a head."""
    last = network.blocks[-1]  # type: ignore[union-attr,index]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, value)


def test_disagreement_is_the_standard_deviation_of_the_guesses() -> None:
    ensemble = Ensemble(config(explore_models=3), 16)
    for member, value in zip(ensemble.members, (1.0, 2.0, 6.0), strict=True):
        always(member, value)
    # Mean 3, squares 4 + 1 + 9 = 14, over three: 4.6667, root 2.1602, alike in all 16 numbers.
    torch.testing.assert_close(ensemble(beliefs(5)), torch.full((5, 1), 2.160247))


def test_members_that_agree_to_the_last_bit_have_a_finite_slope() -> None:
    ensemble = Ensemble(config(), 16)
    for member in ensemble.members:
        always(member, 1.0)
    seen = beliefs(5)
    seen.h.requires_grad_()
    ensemble(seen).sum().backward()
    assert seen.h.grad is not None
    assert seen.h.grad.isfinite().all()


def test_members_are_wrong_by_what_they_should_have_guessed_and_first_rows_do_not_count() -> None:
    ensemble = Ensemble(config(explore_models=2), 16)
    always(ensemble.members[0], 0.0)
    always(ensemble.members[1], 1.0)
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


@pytest.mark.parametrize("weight", [0.0, 0.25, 3.0])
@pytest.mark.parametrize("centered", [False, True])
def test_exploring_is_paid_in_units_of_the_mean_disagreement_and_so_much_of_the_reward(
    weight: float, centered: bool
) -> None:
    agent = make(explore_extrinsic=weight, center_rewards=centered)
    explorer, members = explore(agent), explore(agent).ensemble.members
    always(agent.model.reward, math.log1p(7.0))  # a reward of 7 everywhere
    always(agent.model.cont, 50.0)  # no end
    always(explorer.behavior.slow_critic, 0.0)
    # A constant disagreement is its mean and pays 1. Twice as large, it is 2 where the running mean
    # is (0.99 * 1 + 2) / 1.99 = 1.502513, and pays 1.331104.
    for scale, expected in ((1.0, 1.0), (2.0, 1.331104)):
        for member, value in zip(members, (1.0, 2.0, 6.0), strict=True):
            always(member, scale * value)
        metrics = loss_of(agent).metrics
        replayed = float(rows()["reward"].mean()) if centered else 0.0
        paid = expected + weight * (7 - replayed)
        assert float(metrics["imagined_reward"]) == pytest.approx(paid, rel=1e-4)
        # Returns of three steps: paid (3 + 2 x + x^2) / 3 with x = 0.995 * 0.95 = 0.94525
        assert float(metrics["imagined_return"]) == pytest.approx(1.928 * paid, rel=1e-3)
        assert float(metrics["disagreement"]) == pytest.approx(scale * 2.160247, rel=1e-4)


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_ensemble_actor_and_critic_learn_and_nothing_else_does(action: ActionSpec) -> None:
    agent = make(action)
    explorer = explore(agent)
    loss = loss_of(agent, action)
    (loss.ensemble + loss.actor + loss.critic).backward()
    for module in (explorer.ensemble, explorer.behavior.actor, explorer.behavior.critic):
        assert all(p.grad is not None for p in module.parameters())
    for module in (agent.model, agent.behavior, explorer.behavior.slow_critic):
        assert all(p.grad is None for p in module.parameters())


def test_a_continuous_explorer_climbs_the_disagreement_through_the_dynamics() -> None:
    agent = make(entropy_scale=0.0, entropy_adapt=False)
    explorer, model = explore(agent), agent.model
    g = torch.Generator().manual_seed(1)
    for module in (explorer, model):
        for param in module.parameters():
            if param.ndim == 2:
                torch.nn.init.normal_(param, std=0.5, generator=g)
    # No other way is left for a gradient: values are 0, and no end is nearer than another.
    for head in (explorer.behavior.slow_critic, model.cont):
        always(head, 0.0)

    @torch.no_grad()
    def imagined() -> float:
        """Disagreement where its actions lead, always with the same noise."""
        start, noise = beliefs(B, T).flatten(), torch.Generator().manual_seed(0)
        ahead = explorer.behavior.imagine(model, start, noise).ahead
        return float(explorer.ensemble(ahead.flatten()).mean())

    before = imagined()
    actor = list(explorer.behavior.actor.parameters())
    gradient = torch.autograd.grad(loss_of(agent).actor, actor)
    norm = torch.nn.utils.get_total_norm(gradient)
    assert float(norm) > 0
    with torch.no_grad():
        for param, slope in zip(actor, gradient, strict=True):
            param -= 0.05 * slope / norm
    assert imagined() > before


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_what_learns_the_task_does_not_feel_whether_exploring_is_on(action: ActionSpec) -> None:
    options = {"slow_critic_updates": 2, "imagination_starts": 5, "center_rewards": True}
    for updates in (9, 2):  # it explores throughout, or hands over
        plain = make(action, explore_updates=0, **options)
        exploring = make(action, explore_updates=updates, explore_extrinsic=0.5, **options)
        for seed in range(3):
            metrics = [agent.update(rows(action, seed)) for agent in (plain, exploring)]
            for name in metrics[0].keys() - {"bad"}:
                assert torch.equal(metrics[0][name], metrics[1][name]), name
        expected, found = weights(plain), weights(exploring)
        assert all(torch.equal(x, found[name]) for name, x in expected.items())
        for module in (exploring.model, exploring.behavior, explore(exploring)):
            assert all(p.grad is None for p in module.parameters())
            assert all(p.requires_grad != ("slow" in k) for k, p in module.named_parameters())
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


@pytest.mark.parametrize("explore_updates", [2, 9], ids=["hand-over", "exploring"])
def test_an_exploring_run_resumes_exactly(explore_updates: int) -> None:
    options = {"explore_updates": explore_updates, "slow_critic_updates": 2}
    straight, resumed = make(**options), make(seed=77, **options)  # type: ignore[arg-type]
    straight.update(rows())
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for seed in (1, 2):
        one, other = straight.update(rows(seed=seed)), resumed.update(rows(seed=seed))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    ours, theirs = straight.state_dict(), resumed.state_dict()
    for part in ("model", "behavior", "explorer"):
        assert all(torch.equal(x, theirs[part][key]) for key, x in ours[part].items())
    assert torch.equal(ours["explore_generator"], theirs["explore_generator"])


def test_a_checkpoint_from_before_exploring_had_its_own_random_numbers_is_read() -> None:
    agent, older = make(), make()
    agent.update(rows())
    state = agent.state_dict()
    del state["explore_generator"]
    older.load_state_dict(state)
    assert not float(older.update(rows())["bad"])


def test_exploring_can_be_switched_on_and_off_between_two_starts() -> None:
    plain, exploring = make(explore_updates=0), make(explore_updates=9)
    fresh = copy.deepcopy(explore(exploring).state_dict())
    plain.update(rows())
    exploring.load_state_dict(copy.deepcopy(plain.state_dict()))
    for name, x in weights(plain).items():
        assert torch.equal(x, weights(exploring)[name]), name
    for name, x in explore(exploring).state_dict().items():
        assert torch.equal(x, fresh[name]), name
    exploring.update(rows(seed=1))
    plain.load_state_dict(copy.deepcopy(exploring.state_dict()))
    assert plain.updates == 2
    plain.update(rows(seed=2))
    exploring.update(rows(seed=2))
    for name, x in weights(plain).items():
        assert torch.equal(x, weights(exploring)[name]), name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("explore_updates", -1),
        ("explore_models", 0),
        ("explore_extrinsic", -0.5),
        ("explore_extrinsic", math.nan),
    ],
)
def test_values_that_make_no_sense_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"agent.{key}={value}"):
        config(**{key: value})
