"""One step of Adam, its decay and its clip against arithmetic; what is skipped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from daydreamer.agents.optimizer import Optimizer


def make(*params: nn.Parameter, **options: float) -> Optimizer:
    return Optimizer(
        params, **{"lr": 0.1, "eps": 1e-8, "clip": 1e6, "weight_decay": 0.0, **options}
    )


def test_kernels_decay_before_adam_and_biases_do_not() -> None:
    # Adam's first step is lr * sign(gradient) = 0.1 down. Kernel: 2 * (1 - 0.1 * 0.5) - 0.1 = 1.8
    kernel, bias = nn.Parameter(torch.full((1, 1), 2.0)), nn.Parameter(torch.full((1,), 2.0))
    make(kernel, bias, weight_decay=0.5).step(kernel.sum() + bias.sum())
    assert kernel.item() == pytest.approx(1.8)
    assert bias.item() == pytest.approx(1.9)


def test_gradient_is_clipped_by_its_global_norm() -> None:
    # Gradients 3 and 4 have norm 5; clipped to 1 they are 0.6 and 0.8. First step with eps 1:
    # 0.1 * 0.6 / (0.6 + 1) = 0.0375 and 0.1 * 0.8 / 1.8 = 0.044444
    a, b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    report = make(a, b, eps=1.0, clip=1.0).step(3 * a.sum() + 4 * b.sum())
    assert float(report.grad_norm) == pytest.approx(5.0)
    assert a.item() == pytest.approx(-0.0375, rel=1e-4)
    assert b.item() == pytest.approx(-0.044444, rel=1e-4)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_skipped_and_forgotten(factor: float) -> None:
    spoilt, clean = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    one, other = make(spoilt, weight_decay=0.5), make(clean, weight_decay=0.5)
    assert float(one.step((factor * spoilt).sum()).skipped) == 1.0
    assert torch.equal(spoilt, clean)
    for param, optimizer in ((spoilt, one), (clean, other)):
        assert float(optimizer.step(param.square().sum()).skipped) == 0.0
    assert torch.equal(spoilt, clean)


def test_a_step_touches_its_own_parameters_alone() -> None:
    own, other = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    make(own).step((own * other).sum())
    assert own.item() == pytest.approx(0.9)
    assert other.grad is None
    assert own.grad is None
