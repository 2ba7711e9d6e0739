"""Weights in the form in which a step reads them."""

from __future__ import annotations

import numpy as np
import pytest

from daydreamer.models import numpy_weights
from daydreamer.models.numpy_weights import Shelf, as_half, product


@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("travelled", [True, False])
def test_a_product_is_the_same_in_either_form(
    kernel: bool, travelled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernel:
        monkeypatch.setattr(numpy_weights, "kernels", lambda: None)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((30, 20), np.float32)
    if travelled:
        weight = weight.astype(np.float16).astype(np.float32)
    x = rng.standard_normal(20, np.float32)
    times = product(Shelf({"w": weight}), weight)
    np.testing.assert_allclose(times(x), weight @ x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(times(x[::-1]), weight @ x[::-1], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="19"):
        times(x[1:])


def test_only_what_float16_holds_exactly_is_kept_in_it() -> None:
    exact = np.array([1.0, 0.5, -65504.0, 2.0**-24], np.float32)
    half = as_half(exact)
    assert half is not None
    assert half.dtype == np.float16
    assert as_half(np.array([1.0001], np.float32)) is None
    assert as_half(np.array([1e5], np.float32)) is None


def test_weights_lie_in_one_block_each_on_its_own_lines() -> None:
    arrays = {"a": np.ones((3, 5), np.float32), "b": np.ones(7, np.float32)}
    shelf = Shelf(arrays)
    kept = [shelf.keep(shelf.take("a", 3, 5).T), shelf.keep(shelf.take("b", 7))]
    shelf.close()
    assert [x.shape for x in kept] == [(5, 3), (7,)]
    assert kept[0].base is not None
    assert kept[1].ctypes.data - kept[0].ctypes.data == 64
    assert all((x == 1).all() and x.flags.c_contiguous for x in kept)


def test_a_blank_shelf_has_zeros_and_notes_what_was_taken() -> None:
    shelf = Shelf(None)
    assert not shelf.keep(shelf.take("w", 2, 3)).any()
    shelf.close()
    assert shelf.shapes == {"w": (2, 3)}
