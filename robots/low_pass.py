"""Second-order Butterworth low-pass for joint targets; shared by drivers and twins."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float64Array = NDArray[np.float64]


class LowPassState(NamedTuple):
    """The two last inputs and outputs, newest first; each (N,)."""

    in1: Float64Array
    in2: Float64Array
    out1: Float64Array
    out2: Float64Array


def butterworth(cut_hz: float, rate_hz: float) -> tuple[float, float, float, float, float]:
    """(b0, b1, b2, a1, a2) of an order-2 low-pass, by the bilinear transform with prewarping."""
    if not 0 < cut_hz < rate_hz / 2:
        raise ValueError(
            f"cut_hz={cut_hz} at rate_hz={rate_hz}: expected within (0, {rate_hz / 2:g})"
        )
    k = math.tan(math.pi * cut_hz / rate_hz)
    norm = 1.0 / (1.0 + math.sqrt(2.0) * k + k * k)
    b0 = k * k * norm
    return b0, 2 * b0, b0, 2 * (k * k - 1) * norm, (1 - math.sqrt(2.0) * k + k * k) * norm


class LowPass:
    """Filters (N,) values, one call a control step. Call `fill` before the first."""

    def __init__(self, *, cut_hz: float, rate_hz: float, size: int) -> None:
        """Cut frequency and sampling rate in Hz."""
        self._b0, self._b1, self._b2, self._a1, self._a2 = butterworth(cut_hz, rate_hz)
        self.fill(np.zeros(size))

    @property
    def state(self) -> LowPassState:
        """Everything that the next output depends on; never changed in place."""
        return self._state

    @state.setter
    def state(self, state: LowPassState) -> None:
        self._state = state

    def fill(self, value: Float64Array) -> None:
        """Behave as if `value` (N,) had been the input for ever."""
        value = np.array(value, np.float64)
        self._state = LowPassState(value, value, value, value)

    def step(self, value: Float64Array) -> Float64Array:
        """The filtered value (N,) for this control step."""
        s = self._state
        out: Float64Array = (
            self._b0 * value
            + self._b1 * s.in1
            + self._b2 * s.in2
            - self._a1 * s.out1
            - self._a2 * s.out2
        )
        self._state = LowPassState(np.array(value, np.float64), s.in1, out, s.out1)
        return out
