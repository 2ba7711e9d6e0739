"""Switches (docs/ablations.md): each works throughout, and changes what it says and no more."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from daydreamer.agents.agent import Agent, build_agent, frozen
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.losses import balanced_kl
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.models.policy import build_policy
from robots.base import ActionSpec, ArraySpec

TINY = AgentConfig(
    deter=16, units=12, stoch=4, classes=4, prior_layers=1, mlp_layers=1, mlp_units=16,
    cnn_depth=2, horizon=3,
)  # fmt: skip
ARM, KEYS = ActionSpec("continuous", 2), ActionSpec("discrete", 3)
LOOKS = {"vector": ArraySpec((3,)), "rgb": ArraySpec((64, 64, 3), "uint8")}
SWITCHES: tuple[dict[str, Any], ...] = (
    {"latents": "gaussian"},
    {"decoder_gradient": False},
    {"reward_gradient": False},
    {"reinforce_share": 0.0},
    {"reinforce_share": 0.5},
    {"reinforce_share": 1.0},
    {"norm": "none"},
    {"gru_norm": False},
    {"entropy_adapt": False},
    {"kl_adapt": False},
    {"kl_balance": 0.5},
    {"unimix": 0.0},
    {"actor_unimix": 0.0},
    {"initial": "zeros"},
    {"advantage_norm": False},
)
B, T = 3, 5


def name(switch: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in switch.items())


def make(switch: dict[str, Any], action: ActionSpec = ARM, **options: Any) -> Agent:
    cfg = dataclasses.replace(TINY, **{**options, **switch})
    return build_agent(cfg, LOOKS, action, seed=0)


def rows(action: ActionSpec, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    chosen = torch.rand(B, T, action.size, generator=g) * 2 - 1
    if action.kind == "discrete":
        chosen = nn.functional.one_hot(chosen.argmax(-1), action.size).float()
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[:, 0] = is_first[1, 2] = True
    return {
        "vector": torch.randn(B, T, 3, generator=g),
        "rgb": torch.randint(0, 255, (B, T, 64, 64, 3), dtype=torch.uint8, generator=g),
        "action": chosen,
        "reward": torch.randn(B, T, generator=g),
        "is_first": is_first,
        "is_terminal": torch.zeros(B, T, dtype=torch.bool),
    }


@pytest.mark.parametrize(
    ("action", "precision"), [(ARM, "fp32"), (KEYS, "bf16")], ids=["numbers", "choices-bf16"]
)
@pytest.mark.parametrize("switch", SWITCHES, ids=name)
def test_it_trains_ships_its_weights_and_goes_on_from_a_checkpoint(
    switch: dict[str, Any], action: ActionSpec, precision: str
) -> None:
    agent = make(switch, action, precision=precision)
    before = [p.clone() for p in agent.model.parameters()]
    for seed in range(2):
        metrics = agent.update(rows(action, seed))
        assert float(metrics["bad"]) == 0
        assert all(bool(x.isfinite()) for x in metrics.values())
    trained = (not torch.equal(a, b) for a, b in zip(before, agent.model.parameters(), strict=True))
    assert sum(trained) > 0.9 * len(before)

    arrays = agent.policy_arrays()
    build_policy(agent.cfg, LOOKS, action).load_arrays(arrays)
    policy, rng = NumpyPolicy(agent.cfg, LOOKS, action, arrays), np.random.default_rng(0)
    state, chosen = policy.initial(), np.zeros(action.size, np.float32)
    for step, mode in enumerate(("sample", "mode")):
        obs = {key: x[0, step].numpy() for key, x in rows(action).items() if key in LOOKS}
        chosen, state = policy.step(obs, chosen, step == 0, state, mode, rng)
        assert np.isfinite(chosen).all()

    resumed = build_agent(agent.cfg, LOOKS, action, seed=9)
    resumed.load_state_dict(copy.deepcopy(agent.state_dict()))
    expected, found = (x.update(rows(action, 2)) for x in (agent, resumed))
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def first_losses(agent: Agent, action: ActionSpec) -> dict[str, Tensor]:
    """Everything that is reported of an agent's first losses, before any step."""
    generator = torch.Generator().manual_seed(0)
    noise = agent.model.rssm.latents.noise((B, T, TINY.stoch), generator=generator)
    batch = rows(action)
    model = agent.model.loss(batch, noise)
    start, cont = agent._starts(model.post.detach(), torch.ones(B, T))
    with frozen(agent.model):
        behavior = agent.behavior.loss(agent.model, start, cont, torch.zeros(()), generator)
    critic = torch.autograd.grad(behavior.critic, list(agent.behavior.critic.parameters()))
    reported = {**model.metrics, "loss": model.loss.detach(), **behavior.metrics}
    return {**reported, "critic_grad": nn.utils.get_total_norm(critic)}


@pytest.mark.parametrize(
    ("switch", "action", "changed"),
    [
        ({"decoder_gradient": False}, ARM, set()),
        ({"reward_gradient": False}, ARM, set()),
        ({"kl_balance": 0.5}, ARM, set()),
        ({"kl_adapt": False}, ARM, {"kl_scale", "kl_loss", "loss"}),
        ({"reinforce_share": 0.5}, ARM, {"actor_loss"}),
        ({"reinforce_share": 0.5}, KEYS, {"actor_loss"}),
        ({"advantage_norm": False}, ARM, {"actor_loss"}),
        ({"entropy_adapt": False}, ARM, {"entropy_scale", "actor_loss"}),
    ],
    ids=lambda x: name(x) if isinstance(x, dict) else getattr(x, "kind", ""),
)
def test_it_changes_no_other_number_of_the_losses(
    switch: dict[str, Any], action: ActionSpec, changed: set[str]
) -> None:
    # A target that no first KL meets, and an entropy that is too high: both scales would move.
    moved = {"kl_target_nats": 50.0, "entropy_target": 0.1}
    plain, found = (first_losses(make(x, action, **moved), action) for x in ({}, switch))
    assert {key for key in plain if not torch.allclose(plain[key], found[key])} == changed


# All but the first, which changes the shapes of whatever says or reads z.
@pytest.mark.parametrize("switch", SWITCHES[1:], ids=name)
def test_it_leaves_the_first_weights_as_they_are(switch: dict[str, Any]) -> None:
    plain, changed = make({}), make(switch)
    for before, after in ((plain.model, changed.model), (plain.behavior, changed.behavior)):
        expected = before.state_dict()
        for key, x in after.state_dict().items():
            # Convolutions without norm start with the range of 4 x 4 times as many inputs.
            smaller = switch == {"norm": "none"} and "encoder.cnn" in key
            assert torch.equal(4 * x if smaller else x, expected[key]), key


def parts_of(agent: Agent) -> dict[str, nn.Module]:
    model = agent.model
    names = ("encoder", "rssm", "decoder", "reward", "cont")
    return {part: getattr(model, part) for part in names}


def gradients(switch: dict[str, Any], **scales: float) -> dict[str, list[Tensor]]:
    """Of the model's loss with every other scale 0, by part. No KL reaches the encoder."""
    nothing = dict.fromkeys(("vector_scale", "image_scale", "reward_scale", "cont_scale"), 0.0)
    agent = make(switch, kl_balance=1.0, **{**nothing, **scales})
    # One row, so that the posterior reaches no prior over a later h; the reward of a first row
    # would teach nothing.
    one = {key: x[:, :1] for key, x in rows(ARM).items()}
    one["is_first"] = torch.zeros(B, 1, dtype=torch.bool)
    noise = torch.rand(B, 1, TINY.stoch, generator=torch.Generator().manual_seed(0))
    agent.model.loss(one, noise).loss.backward()
    return {
        part: [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
        for part, module in parts_of(agent).items()
    }


@pytest.mark.parametrize(
    ("key", "head", "scales"),
    [
        ("decoder_gradient", "decoder", {"vector_scale": 1.0, "image_scale": 1.0}),
        ("reward_gradient", "reward", {"reward_scale": 1.0}),
    ],
)
def test_a_stopped_head_learns_as_before_and_teaches_the_representation_nothing(
    key: str, head: str, scales: dict[str, float]
) -> None:
    plain, stopped = gradients({}, **scales), gradients({key: False}, **scales)
    assert any(g.any() for g in plain["encoder"])
    assert not any(g.any() for g in stopped["encoder"])
    assert any(g.any() for g in stopped[head])
    for a, b in zip(plain[head], stopped[head], strict=True):
        assert torch.equal(a, b)
    # The other heads' losses reach the encoder as they did.
    for other in ("vector_scale", "reward_scale", "cont_scale"):
        if other not in scales:
            plain, stopped = gradients({}, **{other: 1.0}), gradients({key: False}, **{other: 1.0})
            assert any(g.any() for g in stopped["encoder"])
            for part in plain:
                for a, b in zip(plain[part], stopped[part], strict=True):
                    assert torch.equal(a, b)


@pytest.mark.parametrize("latents", ["categorical", "gaussian"])
def test_no_balance_is_half_of_the_plain_gradient_of_the_kl(latents: str) -> None:
    agent = make({"latents": latents, "kl_balance": 0.5}, kl_adapt=False)
    dist = agent.model.rssm.latents
    g = torch.Generator().manual_seed(0)
    outputs = [torch.randn(2, dist.outputs, generator=g).requires_grad_() for _ in range(2)]
    post, prior = (dist.stats(x) for x in outputs)
    balanced = balanced_kl(post, prior, balance=0.5, kl=dist.kl)
    found = torch.autograd.grad(balanced.loss, outputs, retain_graph=True)
    expected = torch.autograd.grad(dist.kl(post, prior).mean(), outputs)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(2 * a, b)


def test_gaussian_latents_report_the_kl_and_entropies_of_their_stats() -> None:
    agent = make({"latents": "gaussian"})
    latents, rssm = agent.model.rssm.latents, agent.model.rssm
    # Posterior N(0, 1.1) of each variable, prior N(1, 1.1): 1 / (2 * 1.21) nats each, four times.
    for layers, mean in ((rssm.posterior.rest, 0.0), (rssm.prior, 1.0)):
        last = layers.blocks[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([mean] * 4 + [0.0] * 4))
    metrics = agent.model.loss(rows(ARM), latents.noise(B, T, TINY.stoch)).metrics
    assert float(metrics["kl_nats"]) == pytest.approx(4 / 2.42, rel=1e-5)
    entropy = 4 * (math.log(1.1) + 1.4189385)
    for which in ("post_entropy_nats", "prior_entropy_nats"):
        assert float(metrics[which]) == pytest.approx(entropy, rel=1e-5)


def test_fixed_scales_stay_what_they_were_told_to_be_even_out_of_range() -> None:
    agent = make({}, entropy_adapt=False, entropy_scale=3.0, kl_adapt=False, kl_scale=1e-4)
    for seed in range(2):
        metrics = agent.update(rows(ARM, seed))
        assert float(metrics["behavior/entropy_scale"]) == 3.0
        assert float(metrics["model/kl_scale"]) == pytest.approx(1e-4)


def test_only_a_learned_first_state_is_trained() -> None:
    for initial, learns in (("learned", True), ("zeros", False)):
        agent = make({"initial": initial}, model_lr=1e-2)
        agent.update(rows(ARM))
        assert bool(agent.model.rssm.initial_h.any()) == learns
        arrays = agent.policy_arrays()
        assert bool(arrays["initial_h"].any()) == bool(arrays["initial_z"].any()) == learns


@pytest.mark.parametrize(("share", "least"), [(0.3, 0.1), (0.0, 0.0)])
def test_the_actor_s_share_of_uniform_is_what_an_unwanted_choice_is_left_with(
    share: float, least: float
) -> None:
    agent = make({"actor_unimix": share}, KEYS)
    last = agent.behavior.actor.mlp.blocks[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([80.0, 0.0, 0.0]))
    probs = agent.behavior.actor(torch.zeros(1, 32)).probs
    torch.testing.assert_close(probs, torch.tensor([[1 - 2 * least, least, least]]))
    latents = agent.model.rssm.latents.stats(80 * torch.eye(4)[:1].repeat(1, 4))
    assert float(latents.min()) == pytest.approx(0.01 / 4)  # the latents' own stays


@pytest.mark.parametrize(
    ("option", "advice"),
    [("latents", "categorical or gaussian"), ("norm", "layer or none")],
)
def test_unknown_switches_are_refused_with_advice(option: str, advice: str) -> None:
    with pytest.raises(ValueError, match=rf"agent\.{option}=batch: choose {advice}"):
        AgentConfig(**{option: "batch"})
