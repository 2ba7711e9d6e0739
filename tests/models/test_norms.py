"""Layers without norm: a bias in the norm's place, and nothing else is different."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.models.networks import MLP, BiasAct
from daydreamer.models.rssm import BiasGates, Cell
from robots.base import ActionSpec, ArraySpec

TINY = AgentConfig(
    deter=8, units=6, stoch=3, classes=4, prior_layers=2, post_layers=2, mlp_layers=2, mlp_units=6,
    cnn_depth=2, horizon=3,
)  # fmt: skip
LOOKS = {"vector": ArraySpec((3,)), "rgb": ArraySpec((64, 64, 3), "uint8")}


def make(**changes: Any) -> Agent:
    cfg = dataclasses.replace(TINY, **changes)
    return build_agent(cfg, LOOKS, ActionSpec("continuous", 2), seed=0)


def test_a_bias_and_elu_take_the_place_of_norm_and_elu() -> None:
    act = BiasAct(3)
    with torch.no_grad():
        act.bias.copy_(torch.tensor([0.0, 1.0, -1.0]))
    found = act(torch.tensor([[2.0, -3.0, 0.5]]))
    torch.testing.assert_close(found, torch.tensor([[2.0, -0.864665, -0.393469]]))  # e^-2, e^-0.5
    assert act(torch.ones(1, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    layers = MLP(2, 3, 1, act=BiasAct)
    x = torch.randn(4, 2)
    expected = F.elu(F.linear(x, layers.blocks[0].weight, layers.blocks[1].bias))
    torch.testing.assert_close(layers(x), expected)


def test_gates_without_norm_by_hand() -> None:
    # reset: sigmoid(0) = 0.5, candidate: tanh(0.5 * 2) = 0.761594, update: sigmoid(1 - 1) = 0.5
    # next: 0.5 * 0.761594 + 0.5 * 0.2 = 0.480797
    gates = BiasGates(1)
    with torch.no_grad():
        gates.bias.copy_(torch.tensor([1.0, 1.5, -1.0]))
    found = gates(torch.tensor([[-1.0, 0.5, 2.0]]), torch.tensor([[0.2]]))
    torch.testing.assert_close(found, torch.tensor([[0.480797]]))


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({"gru_norm": False}, "gates_norm.weight"),
        ({"norm": "none", "gru_norm": False}, ".weight"),
    ],
    ids=["gru", "everywhere"],
)
def test_only_the_gains_of_norms_are_gone(changes: dict[str, Any], gone: str) -> None:
    plain, changed = make(), make(**changes)
    for before, after in ((plain.model, changed.model), (plain.behavior, changed.behavior)):
        # Products have two dimensions or more: what is a weight with one is a norm's gain.
        gains = {
            name for name, x in before.state_dict().items() if name.endswith(gone) and x.ndim == 1
        }
        found, expected = after.state_dict(), before.state_dict()
        assert found.keys() == expected.keys() - gains
        assert all(x.shape == expected[name].shape for name, x in found.items())


def test_an_embedding_starts_of_the_same_order_with_and_without_norm() -> None:
    looks = torch.randint(0, 255, (8, 64, 64, 3), dtype=torch.uint8)
    for changes in ({}, {"norm": "none"}):
        encoder = make(cnn_depth=16, **changes).model.encoder
        embed = encoder({"rgb": looks, "vector": torch.randn(8, 3)})
        assert 0.1 < float(embed.detach().std()) < 3


def test_the_gru_alone_can_be_without_norm() -> None:
    plain, bare = (Cell(4, 2, 3, 5, gru_norm=norm) for norm in (True, False))
    bare.load_state_dict(plain.state_dict(), strict=False)
    h, z, share = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 5)
    x = bare.inputs_norm(bare.from_z(z) + share)
    parts = bare.gates(torch.cat([x, h], -1))
    torch.testing.assert_close(bare(h, z, share), bare.gates_norm(parts, h))
    normed = F.layer_norm(parts, (9,), eps=1e-3)
    torch.testing.assert_close(plain(h, z, share), bare.gates_norm(normed, h))
