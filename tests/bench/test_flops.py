from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from daydreamer.agents.config import AgentConfig
from daydreamer.bench.flops import Flops, update_flops
from daydreamer.bench.workloads import WORKLOADS
from robots.base import ActionSpec, ArraySpec

# Small enough to count by hand: 4 latent numbers, features of 6.
TINY = AgentConfig(
    deter=2,
    units=3,
    stoch=2,
    classes=2,
    prior_layers=1,
    post_layers=1,
    mlp_layers=1,
    mlp_units=5,
    cnn_depth=1,
    horizon=2,
)
ROBOT = {"vector": ArraySpec((3,))}


def test_an_update_of_a_tiny_agent_counted_by_hand() -> None:
    parts = update_flops(TINY, ROBOT, ActionSpec("continuous", 2), batch=2, length=3)
    # 6 rows, two operations a multiply-add: 12 a multiply-add and row.
    assert parts["encoder"] == Flops(12 * 15, 0, 12 * 15)  # 3 -> 5
    # action 2x3, latent 4x3 (not below the 2 first rows), gates (3+2)x6, embedding 5x3,
    # posterior 2x3 and 3x4, prior 2x3 and 3x4
    forward = 12 * (6 + 12 + 30 + 15 + 18 + 18)
    assert parts["dynamics"] == Flops(forward, forward - 12 * 6 - 4 * 12, forward)
    assert parts["decoder"] == Flops(12 * 45, 12 * 45, 12 * 45)  # 6 -> 5 -> 3
    assert parts["reward and continue"] == Flops(*[2 * 12 * 35] * 3)  # twice 6 -> 5 -> 1
    # 6 starts, 2 steps: 12 states. The first latents were not imagined.
    forward = 24 * (6 + 12 + 30 + 18)
    assert parts["imagination"] == Flops(forward, forward - 12 * 12, 0)
    assert parts["imagined reward and continue"] == Flops(2 * 24 * 35, 2 * 24 * 35, 0)
    assert parts["slow critic"] == Flops(36 * 35, 24 * 35, 0)  # of the starts too
    assert parts["actor"] == Flops(24 * 50, 24 * 20, 24 * 50)  # 6 -> 5 -> 4
    assert parts["critic"] == Flops(24 * 35, 24 * 5, 24 * 35)


def test_image_layers_counted_by_hand() -> None:
    camera = {"image": ArraySpec((64, 64, 3), "uint8")}
    parts = update_flops(TINY, camera, ActionSpec("continuous", 2), batch=1, length=1)
    # 64 -> 31 -> 14 -> 6 -> 2, patches of 4x4, depths 3 -> 1 -> 2 -> 4 -> 8
    layers = [31**2 * 3 * 16, 14**2 * 2 * 16, 6**2 * 8 * 16, 2**2 * 32 * 16]
    assert parts["encoder"] == Flops(2 * sum(layers), 2 * sum(layers[1:]), 2 * sum(layers))
    # 1 -> 5 -> 13 -> 30 -> 64, depths 6 -> 4 -> 2 -> 1 -> 3: each number read fills a patch
    layers = [6 * 4 * 25, 5**2 * 8 * 25, 13**2 * 2 * 36, 30**2 * 3 * 36]
    assert parts["decoder"] == Flops(*[2 * sum(layers)] * 3)


def counted(network: nn.Module, x: Tensor) -> float:
    """Operations of forward and backward, by torch's own count."""
    with FlopCounterMode(display=False) as counter:
        network(x).sum().backward()
    return float(counter.get_total_flops())


def test_images_cost_what_torch_counts() -> None:
    depth, feat = 3, 10
    cfg = dataclasses.replace(TINY, cnn_depth=depth, deter=6)
    camera = {"image": ArraySpec((64, 64, 3), "uint8")}
    parts = update_flops(cfg, camera, ActionSpec("continuous", 2), batch=2, length=1)
    sizes = [3, 3, 6, 12, 24]
    encoder = nn.Sequential(*(nn.Conv2d(a, b, 4, 2) for a, b in itertools.pairwise(sizes)))
    assert parts["encoder"].total == counted(encoder, torch.zeros(2, 3, 64, 64))
    sizes, kernels = [feat, 12, 6, 3, 3], (5, 5, 6, 6)
    layers = zip(sizes, sizes[1:], kernels, strict=False)
    decoder = nn.Sequential(*(nn.ConvTranspose2d(a, b, k, 2) for a, b, k in layers))
    feats = torch.zeros(2, feat, 1, 1, requires_grad=True)
    assert parts["decoder"].total == counted(decoder, feats)


def test_heads_cost_what_torch_counts() -> None:
    cfg = dataclasses.replace(TINY, mlp_layers=3, deter=6)
    parts = update_flops(cfg, ROBOT, ActionSpec("continuous", 2), batch=4, length=2)
    sizes = [10, 5, 5, 5]
    hidden = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
    imagined = torch.zeros(4 * 2 * TINY.horizon, 10)
    assert parts["critic"].total == counted(nn.Sequential(*hidden, nn.Linear(5, 1)), imagined)
    assert parts["actor"].total == counted(nn.Sequential(*hidden, nn.Linear(5, 4)), imagined)
    frozen = nn.Sequential(*hidden, nn.Linear(5, 1)).requires_grad_(False)
    both = 2 * counted(frozen, imagined.requires_grad_())
    assert parts["imagined reward and continue"].total == both


def test_discrete_actions_pass_no_gradient_through_the_model() -> None:
    parts = update_flops(TINY, ROBOT, ActionSpec("discrete", 4), batch=2, length=3)
    for name in ("imagination", "imagined reward and continue", "slow critic"):
        assert parts[name].forward > 0
        assert parts[name].input_grad == parts[name].weight_grad == 0
    assert parts["actor"] == Flops(24 * 50, 24 * 20, 24 * 50)


def test_the_share_of_reinforce_says_whether_gradients_pass_through_the_model() -> None:
    for kind, share, passes in (
        ("continuous", 1.0, False), ("continuous", 0.5, True), ("discrete", 0.0, True),
    ):  # fmt: skip
        cfg = dataclasses.replace(TINY, reinforce_share=share)
        parts = update_flops(cfg, ROBOT, ActionSpec(kind, 2), batch=2, length=3)  # type: ignore[arg-type]
        plain = update_flops(TINY, ROBOT, ActionSpec("continuous", 2), batch=2, length=3)
        for name in ("imagination", "imagined reward and continue", "slow critic"):
            assert parts[name].forward == plain[name].forward
            assert parts[name].input_grad == (plain[name].input_grad if passes else 0)


def test_gaussian_latents_counted_by_hand() -> None:
    cfg = dataclasses.replace(TINY, latents="gaussian")
    parts = update_flops(cfg, ROBOT, ActionSpec("continuous", 2), batch=2, length=3)
    # z has 2 numbers, which a mean and a deviation each say: as above, but for
    # latent 2x3, posterior 2x3 and 3x4, prior 2x3 and 3x4, features of 4
    forward = 12 * (6 + 6 + 30 + 15 + 18 + 18)
    assert parts["dynamics"] == Flops(forward, forward - 12 * 6 - 4 * 6, forward)
    assert parts["decoder"] == Flops(12 * 35, 12 * 35, 12 * 35)  # 4 -> 5 -> 3
    assert parts["critic"] == Flops(24 * 25, 24 * 5, 24 * 25)  # 4 -> 5 -> 1


def test_an_update_that_explores_counted_by_hand() -> None:
    action = ActionSpec("continuous", 2)
    plain = update_flops(TINY, ROBOT, action, batch=2, length=3)
    cfg = dataclasses.replace(TINY, explore_updates=5, explore_models=2)
    parts = update_flops(cfg, ROBOT, action, batch=2, length=3)
    # Two members 2 -> 5 -> 4, on 6 rows whose h feels nothing, and on 12 imagined ones
    assert parts["exploring: ensemble"] == Flops(24 * 30, 24 * 20, 24 * 30)
    assert parts["exploring: disagreement"] == Flops(48 * 30, 48 * 30, 0)
    again = ("imagination", "slow critic", "actor", "critic")
    assert all(parts[f"exploring: {name}"] == parts[name] == plain[name] for name in again)
    heads = "imagined reward and continue"
    assert 2 * parts[f"exploring: {heads}"].total == plain[heads].total  # no reward is read
    cfg = dataclasses.replace(cfg, explore_extrinsic=0.5)
    parts = update_flops(cfg, ROBOT, action, batch=2, length=3)
    assert parts[f"exploring: {heads}"] == plain[heads]
    assert set(parts) - set(plain) == {name for name in parts if name.startswith("exploring: ")}


def test_the_named_workloads_are_as_large_as_ever() -> None:
    def gflop(name: str) -> float:
        workload = WORKLOADS[name]()
        parts = update_flops(
            workload.agent, workload.observations, workload.action, batch=32, length=32
        )
        return sum(part.total for part in parts.values()) / 1e9

    assert gflop("W1") == pytest.approx(604.8, abs=0.1)
    assert gflop("W2") == pytest.approx(1319.2, abs=0.1)
    assert gflop("W2-64") == pytest.approx(1679.9, abs=0.1)
