"""Products with float16 weights: the kernel's, held to numpy's."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from daydreamer.native import half
from daydreamer.native.library import SWITCH


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.delenv("CC", raising=False)


def fresh() -> half.HalfProduct | None:
    """half_product() as a process that has not asked yet sees it."""
    return half.half_product.__wrapped__()


@pytest.mark.parametrize(
    ("n_out", "n_in"), [(1, 1), (3, 8), (24, 31), (5, 32), (33, 500), (7, 513)]
)
def test_a_product_is_numpy_s_of_the_same_numbers(n_out: int, n_in: int) -> None:
    times = fresh()
    if times is None:
        pytest.skip("no C compiler here, or no float16 in this processor")
    rng = np.random.default_rng(0)
    w = rng.standard_normal((n_out, n_in)).astype(np.float16)
    # One number further on, so that nothing is aligned; what lies around y must stay.
    x = rng.standard_normal(n_in + 1).astype(np.float32)[1:]
    y = np.full(n_out + 2, 7, np.float32)
    times(w.ctypes.data, x.ctypes.data, y[1:].ctypes.data, n_out, n_in)
    expected = w.astype(np.float64) @ x
    np.testing.assert_allclose(y[1:-1], expected, rtol=1e-5, atol=1e-5 * np.sqrt(n_in))
    assert y[[0, -1]].tolist() == [7, 7]


def test_extreme_float16_numbers_are_read_exactly() -> None:
    times = fresh()
    if times is None:
        pytest.skip("no C compiler here, or no float16 in this processor")
    numbers = [65504.0, -65504.0, 2.0**-24, -(2.0**-24), 2.0**-14, 0.0, -0.0, 1 / 3]
    w = np.array(numbers * 5, np.float16)[:, None].repeat(8, 1) * np.eye(1, 8, dtype=np.float16)
    x, y = np.ones(8, np.float32), np.empty(len(w), np.float32)
    times(w.ctypes.data, x.ctypes.data, y.ctypes.data, *w.shape)
    assert np.array_equal(y, w[:, 0].astype(np.float32))


def test_without_a_compiler_there_is_one_warning_and_no_kernel(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with caplog.at_level(logging.WARNING):
        assert fresh() is None
    assert [record.message for record in caplog.records] == [
        "no C kernel, policy steps are slower: there is no C compiler (install gcc, or set CC)"
    ]


def test_the_switch_leaves_everything_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "off")
    assert fresh() is None
