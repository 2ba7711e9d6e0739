"""Distributions over actions: bounds, entropies scaled to what is possible, log-probabilities."""

from __future__ import annotations

import math

import pytest
import torch

from daydreamer.models.actor_head import ActorHead, Policies
from robots.base import ActionSpec

ARM, PAD = ActionSpec("continuous", 3), ActionSpec("discrete", 4)


def make(action: ActionSpec, unimix: float = 0.1) -> ActorHead:
    torch.manual_seed(0)
    return ActorHead(5, action, layers=1, units=6, min_std=0.1, max_std=1.0, unimix=unimix)


def say(head: ActorHead, *output: float) -> Policies:
    """What the head makes of its last layer saying `output`."""
    last = head.mlp.blocks[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor(output))
    policies: Policies = head(torch.zeros(1, 5))
    return policies


def test_means_are_squashed_and_deviations_bounded() -> None:
    policies = say(make(ARM), 0.0, 1.0, -50.0, -50.0, 0.0, 50.0)
    assert policies.mean is not None
    assert policies.std is not None
    torch.testing.assert_close(policies.mean, torch.tensor([[0.0, math.tanh(1), -1.0]]))
    torch.testing.assert_close(policies.std, torch.tensor([[0.1, 0.55, 1.0]]))


def test_entropy_of_each_dimension_runs_from_the_smallest_deviation_to_the_largest() -> None:
    # ln 0.1 is 0, ln 1 is 1; ln 0.55 is (ln 0.55 - ln 0.1) / (0 - ln 0.1) = 0.740363
    head = make(ARM)
    entropy = head.entropy(say(head, 0, 0, 0, -50.0, 0.0, 50.0))
    torch.testing.assert_close(entropy, torch.tensor([[0.0, 0.740363, 1.0]]))


@pytest.mark.parametrize("unimix", [0.1, 0.0])
def test_entropy_of_a_choice_runs_from_the_surest_possible_to_the_uniform(unimix: float) -> None:
    head = make(PAD, unimix)
    sure = head.entropy(say(head, 500.0, 0.0, 0.0, 0.0))
    assert sure.shape == (1, 1)
    assert sure.item() == pytest.approx(0.0, abs=1e-5)
    assert head.entropy(say(head, 0.0, 0.0, 0.0, 0.0)).item() == pytest.approx(1.0)


def test_a_share_of_uniform_keeps_every_choice_possible() -> None:
    policies = say(make(PAD, 0.1), 500.0, 0.0, 0.0, 0.0)
    torch.testing.assert_close(policies.probs, torch.tensor([[0.925, 0.025, 0.025, 0.025]]))
    found = policies.log_prob(torch.tensor([[0.0, 1.0, 0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([math.log(0.025)]))


def test_the_log_density_of_numbers_matches_arithmetic() -> None:
    # N(0, 1) at 1: -0.5 - 0.918939; N(0.5, 0.5) at 0: -0.5 + ln 2 - 0.918939; their sum
    one = Policies(None, torch.tensor([[0.0, 0.5]]), torch.tensor([[1.0, 0.5]]), None)
    found = one.log_prob(torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([-2.144730]))


def test_one_hot_samples_carry_the_gradient_of_the_chances() -> None:
    head = make(PAD)
    policies = say(head, 0.0, 0.0, 0.0, 0.0)
    sample = head.sample(policies, torch.tensor([0.6]))
    assert sample.tolist() == [[0.0, 0.0, 1.0, 0.0]]
    weights = torch.tensor([[1.0, -2.0, 5.0, 0.5]])
    assert policies.probs is not None
    (gradient,) = torch.autograd.grad((weights * sample).sum(), policies.probs)
    assert torch.equal(gradient, weights)


def test_samples_carry_the_gradient_of_mean_and_deviation() -> None:
    head = make(ARM)
    policies, noise = say(head, 0, 0, 0, 0, 0, 0), torch.tensor([[1.0, -2.0, 5.0]])
    sample = head.sample(policies, noise)
    torch.testing.assert_close(sample, 0.55 * noise)  # not clipped
    assert policies.std is not None
    (gradient,) = torch.autograd.grad(sample.sum(), policies.std)
    assert torch.equal(gradient, noise)
