"""The policy that ships: same behaviour as the learner's, checked weights, resets in the graph."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from daydreamer.agents.agent import build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.models.policy import build_policy
from robots.base import ActionSpec, ArraySpec

TINY = AgentConfig(
    deter=8, units=8, stoch=4, classes=4, prior_layers=1, mlp_layers=1, mlp_units=8, cnn_depth=2,
    horizon=3,
)  # fmt: skip
VECTOR = {"vector": ArraySpec((5,))}
BOTH = {
    "vector": ArraySpec((5,)),
    "rgb": ArraySpec((64, 64, 3), "uint8"),
    "depth": ArraySpec((64, 64, 1), "uint8"),
}
ARM = ActionSpec("continuous", 3)


def look(seed: int, images: bool = False) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    obs = {"vector": torch.randn(1, 5, generator=g)}
    if images:
        obs["rgb"] = torch.randint(0, 255, (1, 64, 64, 3), dtype=torch.uint8, generator=g)
        obs["depth"] = torch.randint(0, 255, (1, 64, 64, 1), dtype=torch.uint8, generator=g)
    return obs


@pytest.mark.parametrize("observations", [VECTOR, BOTH], ids=["vector", "fused"])
@pytest.mark.parametrize("action", [ARM, ActionSpec("discrete", 3)], ids=lambda a: a.kind)
@pytest.mark.parametrize(
    "changes",
    [{}, {"latents": "gaussian"}, {"norm": "none"}, {"gru_norm": False}],
    ids=lambda changes: " ".join(changes) or "default",
)
def test_shipped_weights_choose_as_the_learner_s_own_model_does(
    observations: dict[str, ArraySpec], action: ActionSpec, changes: dict[str, Any]
) -> None:
    cfg = dataclasses.replace(TINY, **changes)
    agent = build_agent(cfg, observations, action, seed=3)
    for param in (agent.model.rssm.initial_h, *agent.behavior.actor.parameters()):
        torch.nn.init.normal_(param, std=0.5, generator=torch.Generator().manual_seed(4))
    policy = build_policy(cfg, observations, action)
    policy.load_arrays(agent.policy_arrays())
    # Five steps on the robot, with a new episode at the fourth.
    T, generator, state = 5, torch.Generator().manual_seed(0), policy.initial()
    looks = [look(step, images="rgb" in observations) for step in range(T)]
    is_first = torch.tensor([[True, False, False, True, False]])
    executed, chosen = torch.randn(1, T, 3, generator=torch.Generator().manual_seed(5)), []
    for t, obs in enumerate(looks):
        found, state = policy.step(obs, executed[:, t], is_first[:, t], state, "mode", generator)
        chosen.append(found)
    # The same rows and the same random numbers, as the learner sees them.
    generator, noise = torch.Generator().manual_seed(0), []
    for _ in range(T):
        noise.append(agent.model.rssm.latents.noise(1, cfg.stoch, generator=generator))
        agent.behavior.actor.noise_like(torch.zeros(1, 1), generator)
    batch = {key: torch.stack([obs[key] for obs in looks], 1) for key in observations}
    batch |= {"is_first": is_first}
    with torch.no_grad():
        post, _, _ = agent.model.rssm.observe(
            agent.model.embed(batch), executed, is_first, torch.stack(noise, 1)
        )
        expected = agent.behavior.actor(post.feat).mode()
    torch.testing.assert_close(torch.stack(chosen, 1), expected)
    torch.testing.assert_close(state.h, post.h[:, -1])


def test_sampled_actions_repeat_for_a_generator_and_stay_within_the_range() -> None:
    policy = build_policy(TINY, VECTOR, ARM)
    arrays = {k: 9 * x if k.startswith("actor") else x for k, x in policy.arrays().items()}
    policy.load_arrays(arrays)
    actions = []
    for _ in range(2):
        generator, state, action = (
            torch.Generator().manual_seed(0),
            policy.initial(),
            torch.zeros(1, 3),
        )
        for step in range(30):
            first = torch.tensor([step == 0])
            action, state = policy.step(look(step), action, first, state, "sample", generator)
            actions.append(action)
    assert torch.equal(torch.stack(actions[:30]), torch.stack(actions[30:]))
    assert torch.stack(actions).abs().max() == 1  # clipped


def test_first_step_forgets_the_last_episode() -> None:
    policy = build_policy(TINY, VECTOR, ARM)
    outs = []
    for past in (0.0, 5.0):
        state = policy.initial()
        state = state._replace(h=state.h + past, noise=state.noise + past)
        action, after = policy.step(
            look(0),
            torch.full((1, 3), past),
            torch.tensor([True]),
            state,
            "mode",
            torch.Generator().manual_seed(0),
        )
        outs.append((action, after.h))
    assert torch.equal(outs[0][0], outs[1][0])
    assert torch.equal(outs[0][1], outs[1][1])


def test_noise_can_be_slow_with_the_same_spread() -> None:
    actions = {}
    for rho in (0.0, 0.9):
        cfg = dataclasses.replace(TINY, noise_correlation=rho, min_std=0.099, max_std=0.1)
        policy = build_policy(cfg, VECTOR, ARM)
        arrays = {
            name: x * 0 if name.startswith("actor") else x for name, x in policy.arrays().items()
        }
        policy.load_arrays(arrays)  # mean 0, std 0.1 whatever it sees
        generator, state, action = (
            torch.Generator().manual_seed(0),
            policy.initial(),
            torch.zeros(1, 3),
        )
        drawn = []
        for step in range(2000):
            action, state = policy.step(
                look(0), action, torch.tensor([step == 0]), state, "sample", generator
            )
            drawn.append(action[0])
        actions[rho] = torch.stack(drawn)
    for rho, x in actions.items():
        assert float(x.std()) == pytest.approx(0.1, rel=0.15)
        neighbours = torch.corrcoef(torch.stack([x[:-1].flatten(), x[1:].flatten()]))[0, 1]
        assert float(neighbours) == pytest.approx(rho, abs=0.06)


def test_discrete_policies_choose_one_hot_whatever_the_noise_option() -> None:
    cfg = dataclasses.replace(TINY, noise_correlation=0.9)
    policy = build_policy(cfg, VECTOR, ActionSpec("discrete", 6))
    state, action = policy.initial(), torch.zeros(1, 6)
    for step, mode in enumerate(("sample", "mode", "sample")):
        action, state = policy.step(look(step), action, torch.tensor([step == 0]), state, mode)
        assert sorted(action[0].tolist()) == [0.0] * 5 + [1.0]
        assert [x.shape for x in state] == [x.shape for x in policy.initial()]


def test_unknown_mode_is_refused() -> None:
    policy = build_policy(TINY, VECTOR, ARM)
    with pytest.raises(ValueError, match="mode='greedy': choose sample or mode"):
        policy.step(look(0), torch.zeros(1, 3), torch.tensor([True]), policy.initial(), "greedy")


def test_weights_of_another_policy_are_refused_by_name() -> None:
    policy = build_policy(TINY, VECTOR, ARM)
    arrays = policy.arrays()
    del arrays["initial_h"]
    arrays["stranger"] = np.zeros(1, np.float32)
    arrays["initial_z"] = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match=r"initial_h is missing.*initial_z has shape.*stranger"):
        policy.load_arrays(arrays)


def test_shipped_policy_holds_neither_prior_nor_training_parts() -> None:
    names = build_policy(TINY, VECTOR, ARM).arrays().keys()
    assert {name.split(".")[0] for name in names} == {
        "encoder", "actor", "cell", "posterior", "initial_h", "initial_z",
    }  # fmt: skip


def test_images_of_another_size_are_refused_with_advice() -> None:
    with pytest.raises(ValueError, match="resize them in the task"):
        build_policy(TINY, {"rgb": ArraySpec((32, 32, 3), "uint8")}, ARM)
