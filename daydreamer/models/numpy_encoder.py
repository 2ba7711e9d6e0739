"""Observations to one embedding, as codec.Encoder, for one observation at a time in numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from daydreamer.agents.config import AgentConfig
from daydreamer.models.numpy_layers import MLP, EluAfter, elu_after, symlog
from daydreamer.models.numpy_weights import Floats, Shelf
from daydreamer.models.observations import (
    IMAGE_SIZE,
    KERNEL,
    LEVELS,
    STRIDE,
    split_keys,
    vector_size,
)
from robots.base import ArraySpec

# Up to so many pixels, multiply blocks of so many outputs. OpenBLAS has kernels for products that
# small; before a larger one it copies all the weights, which takes longer than multiplying them.
FEW_PIXELS, BLOCK = 36, 16


class Convolution:
    """Convolution and what follows it; channels last, so that patches copy in runs.

    Every buffer is made once, and so is the view of the input that lists its patches.
    """

    def __init__(
        self, shelf: Shelf, level: int, source: Floats, depth: int, scale: float, act: EluAfter
    ) -> None:
        """source: (size, size, C), read by every call and multiplied by `scale`."""
        size, _, channels = source.shape
        out = (size - KERNEL) // STRIDE + 1
        stored = shelf.take(f"encoder.cnn.{2 * level}.weight", depth, channels, KERNEL, KERNEL)
        weight = scale * stored.transpose(0, 2, 3, 1).reshape(depth, -1)
        self._in_blocks = out * out <= FEW_PIXELS
        self._weight: Floats = shelf.keep(weight if self._in_blocks else weight.T)
        if self._in_blocks:
            self._weight = self._weight.reshape(-1, math.gcd(depth, BLOCK), weight.shape[1])
        row, column, _ = source.strides
        # A patch is KERNEL runs of KERNEL pixels.
        self._patches = as_strided(
            source,
            (out, out, KERNEL, KERNEL * channels),
            (STRIDE * row, STRIDE * column, row, source.itemsize),
            writeable=False,
        )
        self._columns = np.empty(self._patches.shape, np.float32)
        self._flat = self._columns.reshape(out * out, -1)
        self._product = np.empty((out * out, depth), np.float32)
        self._act = act(shelf, f"encoder.cnn.{2 * level + 1}.norm", out * out, depth)
        self.out = self._act.out.reshape(out, out, depth)

    def __call__(self) -> None:
        """Source -> self.out (out, out, depth)."""
        np.copyto(self._columns, self._patches)
        if self._in_blocks:
            by_channel = np.matmul(self._weight, self._flat.T)
            self._product[...] = by_channel.reshape(self._product.shape[::-1]).T
        else:
            np.matmul(self._flat, self._weight, out=self._product)
        self._act(self._product)


class Encoder:
    """One observation -> (embed_size,)."""

    def __init__(
        self, shelf: Shelf, cfg: AgentConfig, observations: Mapping[str, ArraySpec]
    ) -> None:
        self._symlog, act = cfg.symlog_vectors, elu_after(cfg.norm)
        self._vectors, images = split_keys(observations)
        self.embed_size = 0
        if self._vectors:
            n_in = sum(vector_size(observations[key]) for key in self._vectors)
            self._mlp = MLP(shelf, "encoder.mlp", n_in, cfg.mlp_units, cfg.mlp_layers, act=act)
            self.embed_size += cfg.mlp_units
        self._levels: list[Convolution] = []
        if not images:
            return
        self._channels: dict[str, slice] = {}
        channels = 0
        for key in images:
            more = observations[key].shape[2]
            self._channels[key] = slice(channels, channels + more)
            channels += more
        self._pixels = source = np.empty((IMAGE_SIZE, IMAGE_SIZE, channels), np.float32)
        for level in range(LEVELS):
            scale = 1 / 255 if level == 0 else 1.0
            depth = cfg.cnn_depth * 2**level
            convolution = Convolution(shelf, level, source, depth, scale, act)
            self._levels.append(convolution)
            source = convolution.out
        self.embed_size += source.size

    def __call__(self, obs: Mapping[str, NDArray[Any]]) -> Floats:
        """Vectors of any shape and type, images (64, 64, C) uint8. Returns (embed_size,)."""
        parts = []
        if self._vectors:
            flat = [np.asarray(obs[key], np.float32).ravel() for key in self._vectors]
            numbers = np.concatenate(flat)
            parts.append(self._mlp(symlog(numbers) if self._symlog else numbers))
        if self._levels:
            for key, channels in self._channels.items():
                self._pixels[..., channels] = obs[key]
            for convolution in self._levels:
                convolution()
            parts.append(self._levels[-1].out.transpose(2, 0, 1).ravel())  # as torch flattens
        return np.concatenate(parts)
