"""Weights of a numpy policy: checked by name and shape, then laid out for one vector at a time.

A step reads every weight once, and most of them from memory: a robot's caches are smaller than its
policy. How many bytes there are to read, and in which order, is what a step's time is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from daydreamer.native.step import Kernels, kernels

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Product = Callable[[Floats], Floats]
N = TypeVar("N", np.float16, np.float32)

LINE = 64  # bytes in a line of the processor's cache


class Shelf:
    """Gives out arrays by name and shape; close() says what did not fit."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]] | None) -> None:
        """arrays: None has zeros of every name and shape."""
        self.shapes: dict[str, tuple[int, ...]] = {}  # of all that was taken
        self._is_blank = arrays is None
        self._left = dict(arrays or {})
        self._wrong: list[str] = []
        # One block for all: from 4 MiB on, numpy asks Linux for huge pages, and looking up small
        # ones takes a third of the time.
        self._block = np.empty(sum(4 * x.size + LINE for x in self._left.values()), np.uint8)
        self._used = 0

    def take(self, name: str, *shape: int) -> Floats:
        """The array of that name, or zeros where it does not fit."""
        self.shapes[name] = shape
        found = self._left.pop(name, None)
        if self._is_blank:
            pass
        elif found is None:
            self._wrong.append(f"{name} is missing")
        elif found.shape != shape:
            self._wrong.append(f"{name} has shape {found.shape}, expected {shape}")
        elif not np.isfinite(found).all():
            self._wrong.append(f"{name} is not finite")
        else:
            return np.array(found, np.float32)
        return np.zeros(shape, np.float32)

    def keep(self, weight: NDArray[N]) -> NDArray[N]:
        """A contiguous copy, in the block."""
        start, end = self._used, self._used + weight.nbytes
        if end > self._block.size:  # blank, or close() is going to refuse these arrays
            return np.ascontiguousarray(weight)
        self._used += -(-weight.nbytes // LINE) * LINE
        kept = self._block[start:end].view(weight.dtype).reshape(weight.shape)
        kept[...] = weight
        return kept

    def close(self) -> None:
        """Everything was taken. Raises ValueError naming what is missing, wrong or left over."""
        wrong = self._wrong + [f"{name} is not part of this policy" for name in self._left]
        if wrong:
            raise ValueError(
                "these weights belong to another policy: " + "; ".join(sorted(wrong)[:5])
                + ". Give actor and learner the same task, agent and size."
            )  # fmt: skip


def product(shelf: Shelf, weight: Floats) -> Product:
    """X (n_in,) -> W x (n_out,), for W (n_out, n_in). Overwritten by the next call."""
    native = kernels()
    half = None if native is None else as_half(weight)
    if native is None or half is None:
        rows = shelf.keep(weight.T)
        return lambda x: x.dot(rows)
    return _HalfProduct(native, shelf.keep(half))


def as_half(weight: Floats) -> Halves | None:
    """The same numbers in float16, in which they travel; None where that would change them."""
    with np.errstate(over="ignore"):
        half = weight.astype(np.float16)
    return half if np.array_equal(half, weight) else None


class _HalfProduct:
    """W x by the kernel in C."""

    def __init__(self, native: Kernels, weight: Halves) -> None:
        self._times, self._weight = native.half_product, weight
        self._n_out, self._n_in = weight.shape
        self._y = np.empty(self._n_out, np.float32)
        self._addresses = weight.ctypes.data, self._y.ctypes.data

    def __call__(self, x: Floats) -> Floats:
        if x.shape != (self._n_in,):  # the kernel would read on
            raise ValueError(f"a vector of shape {x.shape}, expected ({self._n_in},)")
        x = np.ascontiguousarray(x, np.float32)
        weight, y = self._addresses
        self._times(weight, x.ctypes.data, y, self._n_out, self._n_in)
        return self._y
