"""Adaptive scales and running moments against sequences worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from daydreamer.agents.adapt import AdaptiveScale, RewardCenter, RunningMoments


def test_scale_relaxes_below_its_target_and_recovers_above_it() -> None:
    scale = AdaptiveScale(3.5, hold="down", initial=1.0, low=1e-3)
    for _ in range(50):
        value = scale.update(torch.tensor(1.0))
    torch.testing.assert_close(value, torch.tensor(1.1**-50))
    for _ in range(60):
        value = scale.update(torch.tensor(10.0))
    assert float(value) == 1.0


def test_scale_stays_within_its_bounds() -> None:
    scale = AdaptiveScale(3.5, hold="down", initial=1.0, low=1e-3)
    for _ in range(200):
        value = scale.update(torch.tensor(0.0))
    assert float(value) == pytest.approx(1e-3)


def test_scale_rests_within_its_tolerance() -> None:
    scale = AdaptiveScale(3.5, hold="down", initial=0.5, low=1e-3)
    for quantity in (3.2, 3.5, 3.84):  # 3.5 / 1.1 = 3.18, 3.5 * 1.1 = 3.85
        assert float(scale.update(torch.tensor(quantity))) == 0.5


def test_inverse_scale_grows_while_the_quantity_is_too_small_for_each_entry() -> None:
    scale = AdaptiveScale(0.5, hold="up", initial=0.5, low=1e-5, shape=(3,))
    value = scale.update(torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(value, torch.tensor([0.55, 0.5, 0.5 / 1.1]))


def test_scale_ignores_what_is_not_finite() -> None:
    scale = AdaptiveScale(3.5, hold="down", initial=0.5, low=1e-3)
    assert float(scale.update(torch.tensor(float("nan")))) == 0.5


def test_unknown_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="hold='sideways': choose up or down"):
        AdaptiveScale(1.0, hold="sideways", initial=1.0, low=0.1)


def test_moments_of_the_first_batch_are_its_own() -> None:
    # mean 2, mean square (1 + 9) / 2 = 5, deviation sqrt(5 - 4) = 1: the bias correction is exact
    mean, std = RunningMoments(0.99).update(torch.tensor([1.0, 3.0]))
    assert float(mean) == pytest.approx(2.0)
    assert float(std) == pytest.approx(1.0)


def test_moments_forget_at_the_stated_rate() -> None:
    # decay 0.5, batches 0 then 3: weights 0.25, 0.5; mean 0.5*3 / 0.75 = 2, square 4.5 / 0.75 = 6
    moments = RunningMoments(0.5)
    moments.update(torch.zeros(4))
    mean, std = moments.update(torch.full((4,), 3.0))
    assert float(mean) == pytest.approx(2.0)
    assert float(std) == pytest.approx((6 - 4) ** 0.5)


def test_moments_survive_a_batch_that_is_not_finite() -> None:
    moments = RunningMoments()
    moments.update(torch.tensor([1.0, 3.0]))
    mean, std = moments.update(torch.tensor([float("inf"), 1.0]))
    assert (float(mean), float(std)) == pytest.approx((2.0, 1.0))


def test_deviation_has_a_floor() -> None:
    _, std = RunningMoments().update(torch.full((8,), 0.1))
    assert float(std) == pytest.approx(1e-8)


def flags(*ends: bool) -> tuple[Tensor, Tensor]:
    """Of a batch of one window: its first row, and where an episode terminates."""
    is_first = torch.tensor([[True] + [False] * (len(ends) - 1)])
    return is_first, torch.tensor([list(ends)])


def test_rewards_are_counted_from_the_mean_of_those_that_were_earned() -> None:
    center = RewardCenter(decay=0.5)
    first = center.update(torch.tensor([[9.0, 1.0, 3.0]]), *flags(False, False, False))
    assert float(first) == pytest.approx(2.0)
    # Half the weight is on the newest batch: (0.5 * 2 * 2/3 + 8 * 2/3) / (1.5 * 2/3) = 6.
    second = center.update(torch.tensor([[0.0, 8.0, 8.0]]), *flags(False, False, False))
    assert float(second) == pytest.approx(6.0)


def test_once_an_episode_has_terminated_rewards_count_as_they_are() -> None:
    center = RewardCenter()
    reward = torch.ones(1, 3)
    assert float(center.update(reward, *flags(False, False, False))) == pytest.approx(1.0)
    assert float(center.update(reward, *flags(False, False, True))) == 0.0
    assert float(center.update(reward, *flags(False, False, False))) == 0.0
    resumed = RewardCenter()
    resumed.load_state_dict(center.state_dict())
    assert float(resumed.update(reward, *flags(False, False, False))) == 0.0


def test_a_reward_that_is_not_finite_leaves_the_center_as_it_was() -> None:
    center = RewardCenter()
    center.update(torch.full((1, 3), 2.0), *flags(False, False, False))
    bad = torch.tensor([[0.0, math.nan, 1.0]])
    assert float(center.update(bad, *flags(False, False, False))) == pytest.approx(2.0)
