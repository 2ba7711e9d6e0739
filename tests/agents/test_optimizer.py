"""One step of Adam, its decay and its clip against arithmetic; what is skipped."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from daydreamer.agents.optimizer import Optimizer, StepReport


def make(*params: nn.Parameter, **options: float) -> Optimizer:
    return Optimizer(
        params, **{"lr": 0.1, "eps": 1e-8, "clip": 1e6, "weight_decay": 0.0, **options}
    )


def step(optimizer: Optimizer, loss: Tensor) -> StepReport:
    loss.backward()
    return optimizer.step(loss)


def test_kernels_decay_before_adam_and_biases_do_not() -> None:
    # Adam's first step is lr * sign(gradient) = 0.1 down. Kernel: 2 * (1 - 0.1 * 0.5) - 0.1 = 1.8
    kernel, bias = nn.Parameter(torch.full((1, 1), 2.0)), nn.Parameter(torch.full((1,), 2.0))
    step(make(kernel, bias, weight_decay=0.5), kernel.sum() + bias.sum())
    assert kernel.item() == pytest.approx(1.8)
    assert bias.item() == pytest.approx(1.9)


def test_gradient_is_clipped_by_its_global_norm() -> None:
    # Gradients 3 and 4 have norm 5; clipped to 1 they are 0.6 and 0.8. First step with eps 1:
    # 0.1 * 0.6 / (0.6 + 1) = 0.0375 and 0.1 * 0.8 / 1.8 = 0.044444
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    report = step(make(a, b, eps=1.0, clip=1.0), 3 * a.sum() + 4 * b.sum())
    assert float(report.grad_norm) == pytest.approx(5.0)
    assert a.item() == pytest.approx(-0.0375, rel=1e-4)
    assert b.item() == pytest.approx(-0.044444, rel=1e-4)


def test_a_gradient_below_the_clip_is_taken_as_it_is() -> None:
    a = nn.Parameter(torch.zeros(1))
    step(make(a, eps=1.0, clip=4.0), 3 * a.sum())
    assert a.item() == pytest.approx(-0.1 * 3 / (3 + 1))


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
@pytest.mark.parametrize("steps_before", [0, 2])
def test_a_step_that_is_not_finite_leaves_parameters_moments_and_count(
    factor: float, steps_before: int
) -> None:
    kernel, bias = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))
    optimizer = make(kernel, bias, weight_decay=0.5)
    for _ in range(steps_before):
        step(optimizer, kernel.square().sum() + bias.sum())
    weights = kernel.detach().clone(), bias.detach().clone()
    before = copy.deepcopy(optimizer.adam.state_dict()["state"])
    assert float(step(optimizer, (factor * kernel).sum() + bias.sum()).skipped) == 1.0
    assert torch.equal(kernel, weights[0])
    assert torch.equal(bias, weights[1])
    for index, after in optimizer.adam.state_dict()["state"].items():
        assert float(after["step"]) == steps_before
        for name, x in after.items():
            assert torch.equal(x, before[index][name] if steps_before else torch.zeros_like(x))


def test_after_a_skipped_step_training_goes_on_as_if_it_had_not_been() -> None:
    spoilt, clean = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    one, other = make(spoilt, weight_decay=0.5), make(clean, weight_decay=0.5)
    step(one, (float("nan") * spoilt).sum())
    for param, optimizer in ((spoilt, one), (clean, other)):
        assert float(step(optimizer, param.square().sum()).skipped) == 0.0
    assert torch.equal(spoilt, clean)


def test_a_loss_that_is_not_finite_is_skipped_though_its_gradient_is() -> None:
    param = nn.Parameter(torch.ones(1))
    report = step(make(param), param.sum() + float("inf"))
    assert float(report.grad_norm) == 1.0
    assert float(report.skipped) == 1.0
    assert param.item() == 1.0


def test_a_step_touches_its_own_parameters_alone() -> None:
    own, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    step(make(own), (own * other.detach()).sum())
    assert own.item() == pytest.approx(0.9)
    assert other.item() == 1.0
    assert own.grad is None
