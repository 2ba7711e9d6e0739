"""What z is, as latents.py, for one belief at a time in numpy.

F: as many numbers as there are in z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daydreamer.agents.config import AgentConfig
from daydreamer.models.numpy_layers import mixed_probs, sample_class, sigmoid
from daydreamer.models.numpy_weights import Floats, Shelf, product

Belief = NDArray[Any]  # z as a policy carries it


class Categoricals:
    """One-hot vectors, carried as the indices (S,) of their ones in (F,)."""

    def __init__(self, cfg: AgentConfig) -> None:
        self._stoch, self._unimix = cfg.stoch, cfg.unimix
        self._first_class = np.arange(cfg.stoch) * cfg.classes
        self.flat = self.outputs = cfg.stoch * cfg.classes

    def carried(self, z: Floats) -> Belief:
        """From (F,) zeros and ones, or no ones at all."""
        return np.flatnonzero(z)

    def draw(self, outputs: Floats, rng: np.random.Generator) -> Belief:
        """From logits (F,)."""
        probs = mixed_probs(outputs.reshape(self._stoch, -1), self._unimix)
        drawn: Belief = self._first_class + sample_class(probs, rng.random(self._stoch, np.float32))
        return drawn

    def product(self, shelf: Shelf, weight: Floats) -> Callable[[Belief], Floats]:
        """Z -> W z, for W (n_out, F): the sum of a few columns, kept as rows."""
        rows = shelf.keep(weight.T)
        return lambda z: rows.take(z, 0).sum(0)


class Gaussians:
    """Normal variables, carried as they are: (F,)."""

    def __init__(self, cfg: AgentConfig) -> None:
        self.flat, self.outputs = cfg.stoch, 2 * cfg.stoch

    def carried(self, z: Floats) -> Belief:
        """From (F,)."""
        return z

    def draw(self, outputs: Floats, rng: np.random.Generator) -> Belief:
        """From means and what says the deviations, (2 F,)."""
        mean, raw = outputs[: self.flat], outputs[self.flat :]
        std = 2 * sigmoid(np.float32(0.5) * raw) + 0.1
        drawn: Belief = mean + std * rng.standard_normal(self.flat, np.float32)
        return drawn

    def product(self, shelf: Shelf, weight: Floats) -> Callable[[Belief], Floats]:
        """Z -> W z, for W (n_out, F)."""
        return product(shelf, weight)


def latents(cfg: AgentConfig) -> Categoricals | Gaussians:
    """The distribution of z."""
    return Gaussians(cfg) if cfg.latents == "gaussian" else Categoricals(cfg)
