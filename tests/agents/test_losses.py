"""Every loss and target against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from daydreamer.agents.losses import (
    balanced_kl,
    continue_loss,
    discount_weights,
    lambda_return,
    pathwise_actor_loss,
    reinforce_actor_loss,
    squared_error,
    symlog_error,
)


def close(found: Tensor, expected: object) -> None:
    torch.testing.assert_close(
        found, torch.as_tensor(expected, dtype=found.dtype), rtol=1e-5, atol=1e-6
    )


def test_lambda_return_matches_two_steps_worked_by_hand() -> None:
    # last:  2 + 0.5 * 20                    = 12
    # first: 1 + 0.5 * (0.5 * 10 + 0.5 * 12) = 6.5
    target = lambda_return(
        torch.tensor([[1.0, 2.0]]),
        torch.ones(1, 2),
        torch.tensor([[10.0, 20.0]]),
        discount=0.5,
        lam=0.5,
    )
    close(target, [[6.5, 12.0]])


def test_lambda_zero_is_one_step_temporal_difference() -> None:
    # r + 0.9 v for each step on its own.
    target = lambda_return(
        torch.tensor([[1.0, 2.0, 3.0]]),
        torch.ones(1, 3),
        torch.tensor([[10.0, 20.0, 30.0]]),
        discount=0.9,
        lam=0.0,
    )
    close(target, [[10.0, 20.0, 30.0]])


def test_lambda_one_is_the_discounted_sum_with_a_bootstrap() -> None:
    # last 3 + 0.9*30 = 30; middle 2 + 0.9*30 = 29; first 1 + 0.9*29 = 27.1
    target = lambda_return(
        torch.tensor([[1.0, 2.0, 3.0]]),
        torch.ones(1, 3),
        torch.tensor([[10.0, 20.0, 30.0]]),
        discount=0.9,
        lam=1.0,
    )
    close(target, [[27.1, 29.0, 30.0]])


def test_lambda_return_takes_nothing_from_beyond_a_termination() -> None:
    # The middle step ends: its return is its reward, 2; first: 1 + 0.9 * (0.5*10 + 0.5*2) = 6.4
    target = lambda_return(
        torch.tensor([[1.0, 2.0, 3.0]]),
        torch.tensor([[1.0, 0.0, 1.0]]),
        torch.tensor([[10.0, 20.0, 30.0]]),
        discount=0.9,
        lam=0.5,
    )
    close(target, [[6.4, 2.0, 30.0]])


def test_weights_start_at_one_and_shrink_by_discount_and_continuation() -> None:
    # 1; 0.9 * 1; 0.9^2 * 0.5
    close(discount_weights(torch.tensor([[1.0, 1.0, 0.5]]), discount=0.9), [[1.0, 0.9, 0.405]])


def test_a_terminal_start_weighs_nothing() -> None:
    weight = discount_weights(torch.tensor([[0.0, 1.0, 1.0]]), discount=0.9)
    close(weight, [[0.0, 0.0, 0.0]])
    advantage = torch.tensor([[5.0, 6.0, 7.0]])
    assert float(pathwise_actor_loss(advantage, weight)) == 0.0
    assert float(symlog_error(torch.zeros(1, 3), advantage, weight)) == 0.0


def test_weights_carry_no_gradient() -> None:
    cont = torch.tensor([[1.0, 0.5]], requires_grad=True)
    assert not discount_weights(cont, discount=0.9).requires_grad


def two_categoricals() -> tuple[Tensor, Tensor]:
    post = torch.tensor([[[0.75, 0.25], [0.5, 0.5]]], requires_grad=True)
    prior = torch.tensor([[[0.5, 0.5], [0.25, 0.75]]], requires_grad=True)
    return post, prior


def test_balanced_kl_sums_variables_and_equals_the_plain_kl_in_value() -> None:
    # first:  0.75 ln 1.5 + 0.25 ln 0.5 = 0.304099 - 0.173287 = 0.130812
    # second: 0.5 ln 2 + 0.5 ln (2/3)   = 0.346574 - 0.202733 = 0.143841; sum 0.274653
    kl = balanced_kl(*two_categoricals(), balance=0.8)
    close(kl.loss, 0.274653)
    close(kl.nats, 0.274653)


@pytest.mark.parametrize(("balance", "side"), [(1.0, "post"), (0.0, "prior")])
def test_each_end_of_the_balance_trains_one_side_only(balance: float, side: str) -> None:
    post, prior = two_categoricals()
    balanced_kl(post, prior, balance=balance).loss.backward()
    idle, busy = (post, prior) if side == "post" else (prior, post)
    assert idle.grad is None or not idle.grad.any()
    assert busy.grad is not None
    assert busy.grad.any()


def test_balance_weighs_the_gradient_of_the_prior() -> None:
    # d KL / d prior_c = -post_c / prior_c, times the balance of 0.8.
    post, prior = two_categoricals()
    balanced_kl(post, prior, balance=0.8).loss.backward()
    close(prior.grad, [[[-0.8 * 1.5, -0.8 * 0.5], [-0.8 * 2.0, -0.8 * 2 / 3]]])


def test_squared_error_sums_a_frame_and_has_no_half() -> None:
    # frame one: 1 + 4 = 5, frame two: 9; mean 7
    close(squared_error(torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.zeros(2, 2)), 7.0)
    close(squared_error(torch.tensor([1.0, 3.0]), torch.zeros(2)), 5.0)  # one number a frame


def test_symlog_error_compares_in_symlog_space() -> None:
    # symlog(e - 1) = 1, symlog(1 - e^2) = -2: errors (0.5-1)^2 = 0.25, (0+2)^2 = 4, mean 2.125
    target = torch.tensor([math.e - 1, 1 - math.e**2])
    close(symlog_error(torch.tensor([0.5, 0.0]), target), 2.125)
    # weights 2 and 0: (0.5 + 0) / 2
    close(symlog_error(torch.tensor([0.5, 0.0]), target, torch.tensor([2.0, 0.0])), 0.25)


def test_symlog_error_gives_its_target_no_gradient() -> None:
    target = torch.tensor([1.0], requires_grad=True)
    symlog_error(torch.tensor([0.0], requires_grad=True), target).backward()
    assert target.grad is None


def test_continue_loss_targets_survival() -> None:
    # logit 0 is 0.5 either way: ln 2. Logit ln 3 is 0.75: alive -ln 0.75, dead -ln 0.25.
    close(continue_loss(torch.zeros(2), torch.tensor([False, True])), math.log(2))
    logits = torch.full((1,), math.log(3))
    close(continue_loss(logits, torch.tensor([False])), -math.log(0.75))
    close(continue_loss(logits, torch.tensor([True])), -math.log(0.25))


def test_reinforce_moves_log_probability_along_the_advantage() -> None:
    # -(1*(-0.5)*2 + 0.5*(-1)*(-4)) / 2 = -( -1 + 2 ) / 2 = -0.5; d/d log_prob = -w A / 2 = [-1, 1]
    log_prob = torch.tensor([[-0.5, -1.0]], requires_grad=True)
    advantage = torch.tensor([[2.0, -4.0]], requires_grad=True)
    loss = reinforce_actor_loss(log_prob, advantage, torch.tensor([[1.0, 0.5]]))
    close(loss.detach(), -0.5)
    loss.backward()
    close(log_prob.grad, [[-1.0, 1.0]])
    assert advantage.grad is None


def test_pathwise_loss_is_the_weighted_mean_and_keeps_its_gradient() -> None:
    # -(1*2 + 0.5*(-4)) / 2 = 0; gradient -w / 2
    advantage = torch.tensor([[2.0, -4.0]], requires_grad=True)
    loss = pathwise_actor_loss(advantage, torch.tensor([[1.0, 0.5]]))
    close(loss.detach(), 0.0)
    loss.backward()
    close(advantage.grad, [[-0.5, -0.25]])
