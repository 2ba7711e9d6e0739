"""Layers of a policy for one observation at a time, in numpy: what a robot needs of networks.py.

No batch, no gradient, no torch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daydreamer.models.numpy_weights import Floats, Product, Shelf, product
from daydreamer.native.step import kernels

Indices = NDArray[np.intp]

NORM_EPS = 1e-3  # DayDreamer's


def elu_(x: Floats, below: Floats) -> None:
    """In place: x, or exp(x) - 1 below 0. below: working space of the same shape."""
    # Not expm1: exp is the one that numpy computes eight or sixteen numbers at a time.
    np.minimum(x, 0, out=below)
    np.exp(below, out=below)
    below -= 1
    np.maximum(x, below, out=x)


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
    """Layer norm over the last dimension, in place."""

    def __init__(self, shelf: Shelf, name: str, units: int) -> None:
        self.weight = shelf.take(f"{name}.weight", units)
        self.bias = shelf.take(f"{name}.bias", units)

    def __call__(self, x: Floats) -> Floats:
        """(..., units) -> the same array."""
        x -= np.add.reduce(x, -1, keepdims=True) / x.shape[-1]
        variance = np.einsum("...i,...i->...", x, x) / x.shape[-1]
        x *= (1 / np.sqrt(variance + NORM_EPS))[..., None]
        x *= self.weight
        x += self.bias
        return x


class Bias:
    """In Norm's place where there is no norm."""

    def __init__(self, shelf: Shelf, name: str, units: int) -> None:
        self.bias = shelf.take(f"{name}.bias", units)

    def __call__(self, x: Floats) -> Floats:
        """(..., units) -> the same array."""
        x += self.bias
        return x


class NormElu:
    """Layer norm over the last dimension, then ELU."""

    def __init__(self, shelf: Shelf, name: str, *shape: int) -> None:
        """shape: of what comes in, and of out, where every call leaves its result."""
        self.out, self._scratch = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._norm = Norm(shelf, name, shape[-1])
        self._native = kernels()
        arrays = self._norm.weight, self._norm.bias, self.out
        self._arguments = *(x.ctypes.data for x in arrays), self.out.size // shape[-1], shape[-1]

    def __call__(self, x: Floats) -> Floats:
        """The array `out`, overwritten by the next call."""
        if self._native is None:
            np.copyto(self.out, x)
            elu_(self._norm(self.out), self._scratch)
            return self.out
        if x.shape != self.out.shape:  # the kernel would read on
            raise ValueError(f"an array of shape {x.shape}, expected {self.out.shape}")
        x = np.ascontiguousarray(x, np.float32)
        self._native.norm_elu(x.ctypes.data, *self._arguments)
        return self.out


class BiasElu:
    """In NormElu's place where there is no norm: the bias, then ELU."""

    def __init__(self, shelf: Shelf, name: str, *shape: int) -> None:
        """As NormElu."""
        self.out, self._scratch = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._bias = shelf.take(f"{name}.bias", shape[-1])

    def __call__(self, x: Floats) -> Floats:
        """The array `out`, overwritten by the next call."""
        np.add(x, self._bias, out=self.out)
        elu_(self.out, self._scratch)
        return self.out


EluAfter = type[NormElu] | type[BiasElu]


def elu_after(norm: str) -> EluAfter:
    """What follows every product inside a network, by AgentConfig.norm."""
    return NormElu if norm == "layer" else BiasElu


class MLP:
    """`layers` times (linear, act: norm and ELU); with `n_out`, one linear layer last."""

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
        act: EluAfter = NormElu,
    ) -> None:
        """first: index of the first hidden layer, where somebody else does those before it."""
        self._hidden = []
        for layer in range(first, layers):
            weight = shelf.take(f"{name}.blocks.{2 * layer}.weight", units, n_in)
            after = act(shelf, f"{name}.blocks.{2 * layer + 1}", units)
            self._hidden.append((product(shelf, weight), after))
            n_in = units
        self._last: tuple[Product, Floats] | None = None
        if n_out is not None:
            last = f"{name}.blocks.{2 * layers}"
            times = product(shelf, shelf.take(f"{last}.weight", n_out, n_in))
            self._last = times, shelf.take(f"{last}.bias", n_out)

    def __call__(self, x: Floats) -> Floats:
        """(n_in,) -> (units,) or (n_out,). Overwritten by the next call."""
        for times, after in self._hidden:
            x = after(times(x))
        if self._last is not None:
            times, bias = self._last
            x = times(x)
            x += bias
        return x
