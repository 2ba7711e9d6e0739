"""The filter over joint targets, against the published coefficients and step response."""

from __future__ import annotations

import numpy as np
import pytest

from robots.low_pass import LowPass, butterworth


def test_coefficients_are_the_originals() -> None:
    b0, b1, b2, a1, a2 = butterworth(1.5, 20.0)
    np.testing.assert_allclose([b0, b1, b2], [0.041254, 0.082507, 0.041254], atol=1e-6)
    np.testing.assert_allclose([a1, a2], [-1.348968, 0.513982], atol=1e-6)


def test_step_response_is_the_originals() -> None:
    low_pass = LowPass(cut_hz=1.5, rate_hz=20.0, size=1)
    out = [low_pass.step(np.ones(1)).item() for _ in range(60)]
    np.testing.assert_allclose(
        [out[i - 1] for i in (2, 4, 6, 8)], [0.18, 0.59, 0.90, 1.02], atol=6e-3
    )
    assert max(out) == pytest.approx(1.05, abs=0.01)
    assert out[-1] == pytest.approx(1.0, abs=1e-3)


def test_filled_filter_passes_its_value_unchanged() -> None:
    low_pass = LowPass(cut_hz=1.5, rate_hz=20.0, size=3)
    value = np.array([-1.0, 0.5, 3.0])
    low_pass.fill(value)
    for _ in range(10):
        np.testing.assert_allclose(low_pass.step(value), value, atol=1e-12)


def test_state_put_back_gives_the_same_outputs() -> None:
    rng = np.random.default_rng(0)
    low_pass = LowPass(cut_hz=1.5, rate_hz=20.0, size=2)
    low_pass.step(rng.standard_normal(2))
    state, inputs = low_pass.state, rng.standard_normal((5, 2))
    first = [low_pass.step(value) for value in inputs]
    low_pass.state = state
    np.testing.assert_array_equal([low_pass.step(value) for value in inputs], first)


@pytest.mark.parametrize("cut_hz", [0.0, 10.0, 12.0])
def test_cut_beyond_half_the_rate_is_refused(cut_hz: float) -> None:
    with pytest.raises(ValueError, match="cut_hz"):
        butterworth(cut_hz, 20.0)
