"""The kernels compute what PyTorch's own operations do, forwards and backwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from daydreamer.models import fused
from daydreamer.native.library import library
from tests.compiler import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="no C compiler: there are no kernels")

# bfloat16 keeps 8 bits: results differ by the rounding of operations in between.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 4e-2}
TYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
# Few rows run on one thread, many on all; 33 and 7 fill no vector.
ROWS = pytest.mark.parametrize(("rows", "units"), [(1, 7), (5, 33), (2000, 96)])


def test_they_are_there() -> None:
    assert library() is not None


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g).to(dtype).requires_grad_()


def hold_equal(
    fast: Callable[..., Tensor],
    plain: Callable[..., Tensor],
    inputs: list[Tensor],
    dtype: torch.dtype,
) -> None:
    """Same values and same gradients. The plain path computes in float32 from the same numbers."""
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    wide = [x.detach().float().requires_grad_() for x in inputs]
    found, expected = fast(*inputs), plain(*wide)
    torch.testing.assert_close(found.float(), expected, **tolerance)
    upstream = random(*found.shape, seed=9).detach()
    found_grads = torch.autograd.grad(found, inputs, upstream.to(found.dtype))
    expected_grads = torch.autograd.grad(expected, wide, upstream)
    for a, b in zip(found_grads, expected_grads, strict=True):
        scale = float(b.abs().max()) + 1e-6  # sums over thousands of rows are large
        torch.testing.assert_close(a.float() / scale, b / scale, **tolerance)


@TYPES
@ROWS
def test_norm_and_elu_in_one_pass(rows: int, units: int, dtype: torch.dtype) -> None:
    inputs = [random(rows, units, dtype=dtype), random(units, seed=1), random(units, seed=2)]
    hold_equal(fused.norm_elu, fused.plain_norm_elu, inputs, dtype)


@TYPES
@ROWS
def test_gates_in_one_pass(rows: int, units: int, dtype: torch.dtype) -> None:
    wide = 3 * units
    inputs = [random(rows, wide, dtype=dtype), random(rows, units, seed=1)]
    inputs += [random(wide, seed=2), random(wide, seed=3)]
    hold_equal(fused.gates, fused.plain_gates, inputs, dtype)


@TYPES
@pytest.mark.parametrize("unimix", [0.0, 0.01])
@pytest.mark.parametrize(("rows", "stoch", "classes"), [(1, 1, 2), (3, 5, 7), (300, 16, 32)])
def test_draws_in_one_pass(
    rows: int, stoch: int, classes: int, unimix: float, dtype: torch.dtype
) -> None:
    logits = random(rows, stoch * classes, dtype=dtype)
    uniform = torch.rand(rows, stoch, generator=torch.Generator().manual_seed(1))
    z, index = fused.draw(logits, uniform, unimix)
    _, expected = fused.plain_draw(logits.detach().float(), uniform, unimix)
    assert torch.equal(index, expected)
    assert z.dtype == dtype
    assert torch.equal(z.nonzero()[:, 1].view(rows, stoch), index)
    hold_equal(
        lambda x: fused.draw(x, uniform, unimix)[0],
        lambda x: fused.plain_draw(x, uniform, unimix)[0],
        [logits],
        dtype,
    )


def test_the_last_class_is_drawn_when_rounding_leaves_the_sum_below_the_number() -> None:
    almost_one = torch.tensor([[1.0 - 2**-24]])
    _, index = fused.draw(torch.zeros(1, 3), almost_one, 0.0)
    assert index.item() == 2


def test_frozen_weights_get_no_gradient() -> None:
    x, weight, bias = random(4, 8), torch.ones(8), torch.zeros(8)
    fused.norm_elu(x, weight, bias).sum().backward()
    assert x.grad is not None
    assert weight.grad is None


@TYPES
def test_what_is_not_finite_stays_so(dtype: torch.dtype) -> None:
    # Training must notice: an update with such numbers is skipped.
    for bad in (float("nan"), float("inf")):
        x = torch.zeros(2, 40, dtype=dtype)
        x[0, 3] = bad
        y = fused.norm_elu(x, torch.ones(40), torch.zeros(40))
        assert y[0].isnan().any()
        assert y[1].isfinite().all()
        after = fused.gates(
            x[:, :39].contiguous(), torch.zeros(2, 13), torch.ones(39), torch.zeros(39)
        )
        assert after[0].isnan().any()
        assert after[1].isfinite().all()


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    inputs = [random(3000, 64), random(64, seed=1), random(64, seed=2)]
    found = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            y = fused.norm_elu(*inputs)
            found.append([y, *torch.autograd.grad(y.square().sum(), inputs)])
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found, strict=True):
        assert torch.equal(one, two)
