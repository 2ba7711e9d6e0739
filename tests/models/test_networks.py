"""First weights and norms as DayDreamer has them."""

from __future__ import annotations

import torch

from daydreamer.models.networks import MLP, NormAct, linear


def test_first_weights_fill_the_stated_range() -> None:
    # sqrt(3 / ((300 + 100) / 2)) = 0.122475; a head's, with scale 0.1: 0.038730
    for scale, limit in ((1.0, 0.122475), (0.1, 0.038730)):
        layer = linear(300, 100, scale=scale)
        assert layer.weight.abs().max() <= limit
        assert layer.weight.abs().max() > 0.99 * limit
        assert not layer.bias.any()


def test_a_part_of_a_layer_starts_as_the_whole_would() -> None:
    # 100 of 300 inputs: the range is that of (300, 100), not of (100, 100).
    part = linear(100, 100, bias=False, fans=(300, 100))
    assert 0.99 * 0.122475 < part.weight.abs().max().item() <= 0.122475


def test_hidden_layers_are_normalised_with_daydreamers_epsilon_and_have_no_bias() -> None:
    # mean 0, variance 1e-3: each is divided by sqrt(1e-3 + 1e-3) = 0.0447214; then ELU
    x = torch.tensor([1e-3**0.5, -(1e-3**0.5)])
    expected = torch.nn.functional.elu(x / 0.0447214)
    torch.testing.assert_close(NormAct(2)(x), expected)
    assert [name for name, _ in MLP(3, 4, 1, 2).named_parameters()] == [
        "blocks.0.weight", "blocks.1.weight", "blocks.1.bias", "blocks.2.weight", "blocks.2.bias",
    ]  # fmt: skip
