"""Layers of a policy for one observation at a time, in numpy: what a robot needs of networks.py.

No batch, no gradient, no torch.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from daydreamer.models.numpy_weights import Floats, Product, Shelf, product

Indices = NDArray[np.intp]

NORM_EPS = 1e-3  # DayDreamer's


def elu(x: Floats, scratch: Floats | None = None) -> Floats:
    """In place: x, or exp(x) - 1 below 0. Returns x."""
    # Not expm1: exp is the one that numpy computes eight or sixteen numbers at a time.
    below: Floats = np.minimum(x, 0, out=scratch)
    np.exp(below, out=below)
    below -= 1
    np.maximum(x, below, out=x)
    return x


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), without the overflow."""
    out: Floats = 0.5 + 0.5 * np.tanh(0.5 * x)
    return out


def symlog(x: Floats) -> Floats:
    """sign(x) ln(1 + |x|)."""
    out: Floats = np.sign(x) * np.log1p(np.abs(x))
    return out


def mixed_probs(logits: Floats, unimix: float) -> Floats:
    """(..., C) probabilities with a share `unimix` of the uniform distribution."""
    probs: Floats = np.exp(logits - logits.max(-1, keepdims=True))
    probs /= probs.sum(-1, keepdims=True)
    if not unimix:
        return np.maximum(probs, np.finfo(np.float32).tiny, out=probs)
    probs *= 1 - unimix
    probs += unimix / logits.shape[-1]
    return probs


def sample_class(probs: Floats, uniform: Floats) -> Indices:
    """Classes by inverse CDF. probs (..., C), uniform (...,) in [0, 1). Returns (...,)."""
    above = (probs.cumsum(-1) <= uniform[..., None]).sum(-1)
    # Rounding can leave the last cumulative sum below the largest uniform number.
    classes: Indices = np.minimum(above, probs.shape[-1] - 1)
    return classes


def one_hot(index: int, size: int) -> Floats:
    """(size,) zeros with a one at `index`."""
    out = np.zeros(size, np.float32)
    out[index] = 1
    return out


class Norm:
    """Layer norm of one vector, in place."""

    def __init__(self, shelf: Shelf, name: str, size: int) -> None:
        self._weight = shelf.take(f"{name}.weight", size)
        self._bias = shelf.take(f"{name}.bias", size)

    def __call__(self, x: Floats) -> Floats:
        """(size,) -> the same array."""
        x -= np.add.reduce(x) / x.size
        x *= self._weight * (1 / math.sqrt(float(x.dot(x)) / x.size + NORM_EPS))
        x += self._bias
        return x


class MLP:
    """`layers` times (linear, norm, ELU); with `n_out`, one linear layer last."""

    def __init__(
        self,
        shelf: Shelf,
        name: str,
        n_in: int,
        units: int,
        layers: int,
        n_out: int | None = None,
        *,
        first: int = 0,
    ) -> None:
        """first: index of the first hidden layer, where somebody else does those before it."""
        self._hidden = []
        for layer in range(first, layers):
            weight = shelf.take(f"{name}.blocks.{2 * layer}.weight", units, n_in)
            norm = Norm(shelf, f"{name}.blocks.{2 * layer + 1}", units)
            self._hidden.append((product(shelf, weight), norm))
            n_in = units
        self._last: tuple[Product, Floats] | None = None
        if n_out is not None:
            last = f"{name}.blocks.{2 * layers}"
            times = product(shelf, shelf.take(f"{last}.weight", n_out, n_in))
            self._last = times, shelf.take(f"{last}.bias", n_out)

    def __call__(self, x: Floats) -> Floats:
        """(n_in,) -> (units,) or (n_out,). Overwritten by the next call."""
        for times, norm in self._hidden:
            x = elu(norm(times(x)))
        if self._last is not None:
            times, bias = self._last
            x = times(x)
            x += bias
        return x
