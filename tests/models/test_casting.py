"""Weights are cast once an update, and never where a gradient would be lost."""

from __future__ import annotations

import torch

from daydreamer.models.casting import Linear, cast, cast_columns, computing_in
from daydreamer.models.rssm import LatentMLP

CPU = torch.device("cpu")


def test_a_weight_is_cast_once_and_again_after_the_update() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3), requires_grad=False)
    with computing_in(torch.bfloat16, CPU):
        first = cast(weight)
        assert first.dtype == torch.bfloat16
        assert cast(weight) is first
    weight.fill_(2)
    with computing_in(torch.bfloat16, CPU):
        assert torch.equal(cast(weight), torch.full((2, 3), 2.0, dtype=torch.bfloat16))
    assert cast(weight) is weight


def test_a_cast_made_without_a_graph_does_not_take_the_gradient_away() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3))
    with computing_in(torch.bfloat16, CPU):
        with torch.no_grad():
            assert not cast(weight).requires_grad
        cast(weight).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones(2, 3))


def test_columns_become_rows() -> None:
    weight = torch.arange(6.0).view(2, 3)
    assert torch.equal(cast_columns(weight, 1), torch.tensor([[1.0, 4.0], [2.0, 5.0]]))


def test_a_layer_computes_in_the_type_asked_for() -> None:
    layer, x = Linear(3, 2), torch.randn(4, 3)
    plain = layer(x)
    with computing_in(torch.bfloat16, CPU):
        found = layer(x)
    assert plain.dtype == torch.float32
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plain, rtol=2e-2, atol=2e-2)


def test_what_heads_say_is_exact() -> None:
    head = LatentMLP(6, 8, 1, 2, out_scale=1.0)
    feat = torch.randn(5, 6)
    with computing_in(torch.bfloat16, CPU):
        hidden = head.blocks[:-1](feat)
        found = head(feat)
    assert hidden.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    last = head.blocks[-1]
    torch.testing.assert_close(
        found, torch.nn.functional.linear(hidden.float(), last.weight, last.bias)
    )
