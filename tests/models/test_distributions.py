"""Sampling, straight-through gradients, entropies and KLs against arithmetic."""

from __future__ import annotations

import math

import torch

from daydreamer.models.distributions import (
    categorical_entropy,
    categorical_kl,
    mixed_probs,
    mode_onehot,
    normal_entropy,
    sample_onehot,
    straight_through,
    symexp,
    symlog,
)


def test_symlog_and_symexp_undo_each_other() -> None:
    x = torch.tensor([-100.0, -1.0, 0.0, 0.5, 14.0, 1e4])
    torch.testing.assert_close(symexp(symlog(x)), x, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(symlog(torch.tensor([math.e - 1])), torch.tensor([1.0]))


def test_unimix_keeps_every_class_possible() -> None:
    # softmax is (1, 0) to rounding; with 10 % uniform over two: 0.95, 0.05
    probs = mixed_probs(torch.tensor([1000.0, -1000.0]), 0.1)
    torch.testing.assert_close(probs, torch.tensor([0.95, 0.05]))


def test_without_unimix_an_impossible_class_makes_no_nan() -> None:
    # softmax rounds the second class to 0; KL, entropy and their gradients stay finite.
    logits = torch.tensor([[1000.0, -1000.0]], requires_grad=True)
    probs, fair = mixed_probs(logits, 0.0), torch.tensor([[0.5, 0.5]])
    torch.testing.assert_close(probs, torch.tensor([[1.0, 0.0]]))
    values = [categorical_kl(fair, probs), categorical_kl(probs, fair), categorical_entropy(probs)]
    total = torch.stack([x.sum() for x in values]).sum()
    total.backward()
    assert logits.grad is not None
    assert torch.isfinite(total)
    assert torch.isfinite(logits.grad).all()


def test_inverse_cdf_sampling_maps_each_interval_to_its_class() -> None:
    probs = torch.tensor([0.25, 0.5, 0.25]).expand(6, 3)
    uniform = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 0.999999])
    assert sample_onehot(probs, uniform).argmax(-1).tolist() == [0, 0, 1, 1, 2, 2]


def test_sampling_survives_sums_that_round_below_one() -> None:
    probs = torch.full((1, 3), 0.33)
    assert sample_onehot(probs, torch.tensor([0.9999])).tolist() == [[0.0, 0.0, 1.0]]


def test_sample_frequencies_follow_the_probabilities() -> None:
    probs = torch.tensor([0.1, 0.6, 0.3])
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    found = sample_onehot(probs.expand(20_000, 3), uniform).mean(0)
    assert (found - probs).abs().max() < 0.015


def test_straight_through_is_exactly_one_hot_with_the_gradient_of_the_probabilities() -> None:
    logits = torch.tensor([[0.3, -1.0, 0.7]], requires_grad=True)
    weight = torch.tensor([[1.0, 2.0, 3.0]])
    probs = mixed_probs(logits, 0.01)
    z = straight_through(sample_onehot(probs, torch.tensor([0.5])), probs)
    assert sorted(z.flatten().tolist()) == [0.0, 0.0, 1.0]
    (z * weight).sum().backward()
    # d/dlogits of sum(w * 0.99 * softmax) = 0.99 * p * (w - sum(w p))
    p = torch.softmax(logits.detach(), -1)
    expected = 0.99 * p * (weight - (weight * p).sum(-1, keepdim=True))
    torch.testing.assert_close(logits.grad, expected)


def test_mode_is_the_likeliest_class() -> None:
    assert mode_onehot(torch.tensor([[0.2, 0.5, 0.3]])).tolist() == [[0.0, 1.0, 0.0]]


def test_kl_and_entropies_match_arithmetic() -> None:
    p, q = torch.tensor([[0.75, 0.25]]), torch.tensor([[0.5, 0.5]])
    torch.testing.assert_close(
        categorical_kl(p, q), torch.tensor(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    )
    assert float(categorical_kl(p, p)) == 0.0
    torch.testing.assert_close(categorical_entropy(q), torch.tensor([math.log(2)]))
    # N(0, 1): 1.418939 nats
    torch.testing.assert_close(normal_entropy(torch.ones(1)), torch.tensor([1.4189385]))
