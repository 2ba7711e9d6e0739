"""Figures of an agent on held-out windows, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.health import (
    compare_returns,
    examine,
    imagined_returns,
    latent_health,
    real_returns,
)
from robots.base import ActionSpec, ArraySpec

N, T = 4, 24
SPREAD = {"pose": 1.0, "reward": 1.0}


CONTINUOUS = ActionSpec("continuous", 2)


def make(action: ActionSpec = CONTINUOUS, **options: object) -> Agent:
    cfg = AgentConfig(
        deter=8, units=8, stoch=3, classes=4, prior_layers=1, mlp_layers=1, mlp_units=8,
        horizon=3, **options,
    )  # type: ignore[arg-type]  # fmt: skip
    return build_agent(cfg, {"pose": ArraySpec((2,))}, action, seed=0)


def rows() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    is_first = torch.zeros(N, T, dtype=torch.bool)
    is_first[:, 0] = True
    return {
        "pose": torch.randn(N, T, 2, generator=generator),
        "action": torch.randn(N, T, 2, generator=generator),
        "reward": torch.randn(N, T, generator=generator),
        "is_first": is_first,
        "is_terminal": torch.zeros(N, T, dtype=torch.bool),
    }


def look(agent: Agent, seed: int = 0) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    length = torch.tensor([24, 24, 20, 7])
    return examine(agent, rows(), length, SPREAD, generator).metrics


def test_a_constant_latent_and_one_of_mere_noise_are_dead() -> None:
    certain = torch.tensor([0.97, 0.01, 0.01, 0.01])
    constant = certain.expand(4, 4)  # the same class in each of four beliefs
    noise = torch.full((4, 4), 0.25)  # any class, in each
    tells = torch.stack([certain.roll(i) for i in range(4)])  # a class of its own in each
    post = torch.stack([constant, noise, tells], 1)  # (4, 3, 4)
    found = latent_health(post, torch.full((4, 3, 4), 0.25))
    assert found["dead_latents"] == pytest.approx(2 / 3)
    # KL to the uniform: ln 4 - H, and H = -(0.97 ln 0.97 + 0.03 ln 0.01) = 0.1677
    kl = math.log(4) - 0.16770
    assert found["kl_per_latent_max"] == pytest.approx(kl, abs=1e-4)
    assert found["kl_nats"] == pytest.approx(2 * kl, abs=2e-4)  # the noise has none


def test_a_latent_that_tells_little_is_dead_below_a_hundredth_of_ln_c() -> None:
    def tells(shift: float) -> float:
        """Two beliefs in which a variable of two classes has 0.5 + shift and 0.5 - shift."""
        post = torch.tensor([[[0.5 + shift, 0.5 - shift]], [[0.5 - shift, 0.5 + shift]]])
        return latent_health(post, torch.full((2, 1, 2), 0.5))["dead_latents"]

    # ln 2 - H(0.5 + s) is about 2 s^2 nats: 0.0050 for 0.05, 0.0098 for 0.07; the line is 0.0069
    assert tells(0.05) == 1
    assert tells(0.07) == 0


def test_real_returns_add_up_the_rows_that_follow() -> None:
    reward = torch.tensor([[9.0, 1.0, 2.0, 4.0, 8.0], [9.0, 1.0, 2.0, 77.0, 77.0]])
    ends = torch.zeros(2, 5, dtype=torch.bool)
    total, known = real_returns(reward, ends, torch.tensor([5, 3]), horizon=2)
    assert known.tolist() == [[True, True, True, False, False], [True, False, False, False, False]]
    assert total[0, :3].tolist() == [3, 6, 12]
    assert total[1, 0] == 3  # what lies behind a window's end does not count
    # Where the second window's last row is terminal, its returns are known to the end.
    ends[1, 2] = True
    total, known = real_returns(reward, ends, torch.tensor([5, 3]), horizon=2)
    assert known[1].tolist() == [True, True, False, False, False]
    assert total[1, :2].tolist() == [3, 2]


def test_imagined_rewards_count_until_the_imagined_end() -> None:
    reward = torch.tensor([[1.0, 2.0, 4.0]])
    cont = torch.tensor([[0.5, 0.5, 0.0]])
    # 1 + 0.5 * 2 + 0.25 * 4; what follows the last state is not asked for
    assert imagined_returns(reward, cont).tolist() == [3]


def test_gap_and_correlation_of_returns() -> None:
    found = compare_returns(torch.tensor([2.0, 4.0, 6.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert found == pytest.approx(
        {
            "imagined_return": 4,
            "real_return": 2,
            "real_return_std": math.sqrt(2 / 3),
            "return_gap": 2,
            "return_correlation": 1,
        }
    )
    # Deviations (-1, 0, 1) and (-1, 2, -1): their product is 1 + 0 - 1
    found = compare_returns(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 3.0, 0.0]))
    assert found["return_correlation"] == pytest.approx(0)
    constant = compare_returns(torch.tensor([1.0, 2.0, 3.0]), torch.full((3,), 5.0))
    assert "return_correlation" not in constant


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
def test_examining_an_agent_changes_nothing_of_it(kind: str) -> None:
    agent = make(ActionSpec(kind, 2))  # type: ignore[arg-type]
    before = {key: x.clone() for key, x in {**agent.model.state_dict()}.items()}
    behavior = {key: x.clone() for key, x in agent.behavior.state_dict().items()}
    own, general = agent.generator.get_state(), torch.get_rng_state()
    trained = [name for name, p in agent.model.named_parameters() if p.requires_grad]
    metrics = look(agent)
    assert metrics.keys() >= {
        "open_loop/pose_1", "open_loop/pose_15", "open_loop/reward_5", "open_loop/reward_abs_1",
        "imagined_return", "real_return", "return_gap", "dead_latents", "kl_per_latent_max",
    }  # fmt: skip
    assert "open_loop/pose_50" not in metrics
    for key, x in agent.model.state_dict().items():
        assert torch.equal(x, before[key]), key
    for key, x in agent.behavior.state_dict().items():
        assert torch.equal(x, behavior[key]), key
    assert torch.equal(own, agent.generator.get_state())
    assert torch.equal(general, torch.get_rng_state())
    assert trained == [name for name, p in agent.model.named_parameters() if p.requires_grad]
    assert all(p.grad is None for p in [*agent.model.parameters(), *agent.behavior.parameters()])


def test_the_same_generator_gives_the_same_figures() -> None:
    agent = make()
    assert look(agent) == look(agent)
    assert look(agent) != look(agent, seed=1)


def test_rows_behind_a_window_s_end_change_no_figure() -> None:
    agent, batch, length = make(), rows(), torch.tensor([24, 24, 20, 7])
    spoilt = {key: x.clone() for key, x in batch.items()}
    for key in ("pose", "action", "reward"):
        spoilt[key][3, 7:] = 1e3
    figures = [
        examine(agent, data, length, SPREAD, torch.Generator().manual_seed(0)).metrics
        for data in (batch, spoilt)
    ]
    assert figures[0] == figures[1]


def test_other_latents_than_categorical_ones_leave_their_figures_out() -> None:
    metrics = look(make(latents="gaussian"))
    assert not {"dead_latents", "kl_nats", "kl_per_latent_max"} & metrics.keys()
    assert {"return_gap", "open_loop/pose_1"} <= metrics.keys()
    assert all(math.isfinite(x) for x in metrics.values())


def test_while_another_policy_explores_returns_are_not_compared() -> None:
    agent = make(explore_updates=2)
    metrics = look(agent)
    assert not any("return" in name for name in metrics)
    assert {"dead_latents", "open_loop/pose_1"} <= metrics.keys()
    agent.updates = 2
    assert {"return_gap", "imagined_return", "real_return"} <= look(agent).keys()


def test_an_agent_that_computes_in_bf16_is_examined_in_bf16() -> None:
    exact, coarse = look(make()), look(make(precision="bf16"))
    assert coarse.keys() == exact.keys()
    assert all(math.isfinite(x) for x in coarse.values())
    assert coarse["open_loop/pose_1"] == pytest.approx(exact["open_loop/pose_1"], rel=0.1)


def test_the_longest_windows_are_shown() -> None:
    batch = {key: torch.cat([x, x]) for key, x in rows().items()}
    length = torch.tensor([7, 24, 24, 20, 7, 24, 24, 20])
    shown = examine(make(), batch, length, SPREAD, torch.Generator().manual_seed(0)).shown
    assert shown.length.tolist() == [24, 24, 24, 24]
    assert torch.equal(shown.truth["pose"][0], batch["pose"][1])
    assert shown.dreams["pose"].shape == (4, 4, T, 2)
    assert shown.dreams["reward"].shape == (4, 4, T)
