"""Kernels of a policy's step, held to numpy's results."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from daydreamer.native import step
from daydreamer.native.library import SWITCH
from tests.compiler import has_compiler, has_float16


def fresh() -> step.Kernels | None:
    """kernels() as a process that has not asked yet sees it."""
    return step.kernels.__wrapped__()


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> step.Kernels:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv(SWITCH, raising=False)
        patch.delenv("CC", raising=False)
        found = fresh()
    if not (has_compiler() and has_float16()):
        pytest.skip("no C compiler here, or no float16 in this processor")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("n_out", "n_in"), [(1, 1), (3, 8), (24, 31), (5, 32), (33, 500), (7, 513)]
)
def test_a_product_is_numpy_s_of_the_same_numbers(
    kernels: step.Kernels, n_out: int, n_in: int
) -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((n_out, n_in)).astype(np.float16)
    # One number further on, so that nothing is aligned; what lies around y must stay.
    x = rng.standard_normal(n_in + 1).astype(np.float32)[1:]
    y = np.full(n_out + 2, 7, np.float32)
    kernels.half_product(w.ctypes.data, x.ctypes.data, y[1:].ctypes.data, n_out, n_in)
    expected = w.astype(np.float64) @ x
    np.testing.assert_allclose(y[1:-1], expected, rtol=1e-5, atol=1e-5 * np.sqrt(n_in))
    assert y[[0, -1]].tolist() == [7, 7]


def test_extreme_float16_numbers_are_read_exactly(kernels: step.Kernels) -> None:
    numbers = [65504.0, -65504.0, 2.0**-24, -(2.0**-24), 2.0**-14, 0.0, -0.0, 1 / 3]
    w = np.array(numbers * 5, np.float16)[:, None].repeat(8, 1) * np.eye(1, 8, dtype=np.float16)
    x, y = np.ones(8, np.float32), np.empty(len(w), np.float32)
    kernels.half_product(w.ctypes.data, x.ctypes.data, y.ctypes.data, *w.shape)
    assert np.array_equal(y, w[:, 0].astype(np.float32))


def test_norm_and_elu_by_hand(kernels: step.Kernels) -> None:
    x = np.array([[1, 5], [5, 1], [3, 3]], np.float32)
    weight, bias, y = np.full(2, 2, np.float32), np.array([0, 1], np.float32), np.empty_like(x)
    kernels.norm_elu(*(a.ctypes.data for a in (x, weight, bias, y)), 3, 2)
    # Variance 4: (-2, 2) / sqrt(4.001) is (-0.999875, 0.999875).
    low, high = np.expm1(-1.99975), np.expm1(1 - 1.99975)
    np.testing.assert_allclose(y, [[low, 2.99975], [1.99975, high], [0, 1]], rtol=1e-5)


def test_without_a_compiler_there_is_one_warning_and_no_kernels(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv(SWITCH, raising=False)
    with caplog.at_level(logging.WARNING):
        assert fresh() is None
    assert [record.message for record in caplog.records] == [
        "no C kernels, policy steps are slower: there is no C compiler (install gcc, or set CC)"
    ]


def test_the_switch_leaves_everything_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "off")
    assert fresh() is None
