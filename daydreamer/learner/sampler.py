"""Batches for the trainer, drawn ahead by a thread of their own or, in lockstep, on demand."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from daydreamer.replay.sequences import SequenceReplay

# What an update reads beside the observations; the archive keeps the rest for people.
_ROW_KEYS = ("action", "reward", "is_first", "is_last", "is_terminal")
AHEAD = 2  # batches drawn before they are asked for


class _Draw(NamedTuple):
    batch: dict[str, Tensor]
    state_after: Mapping[str, Any]  # of the random generator


class Sampler(Protocol):
    """Where batches come from."""

    def next_batch(self, timeout_s: float) -> dict[str, Tensor] | None:
        """(B, T, ...) tensors on the CPU; None when there is none for timeout_s."""

    def state(self) -> Mapping[str, Any]:
        """Of the random generator, as if only the batches taken had been drawn."""

    def close(self) -> None:
        """Stop drawing."""


class DirectSampler:
    """Draws when asked: the batch depends on nothing but the memory and the generator."""

    def __init__(
        self,
        replay: SequenceReplay,
        observations: tuple[str, ...],
        batch: int,
        length: int,
        seed: int,
    ) -> None:
        self._replay, self._batch, self._length = replay, batch, length
        self._columns = (*observations, *_ROW_KEYS)
        self._rng = np.random.default_rng(seed)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on where state() was taken."""
        self._rng.bit_generator.state = dict(state)

    def draw(self) -> _Draw:
        """One batch. Raises ValueError while no window is long enough."""
        arrays = self._replay.sample(self._rng, self._batch, self._length, self._columns)
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return _Draw(batch, self._rng.bit_generator.state)

    def can_draw(self) -> bool:
        """Whether the memory holds one window."""
        return self._replay.can_sample(self._length)

    def next_batch(self, timeout_s: float) -> dict[str, Tensor] | None:
        """One batch, None while no window is long enough."""
        return self.draw().batch if self.can_draw() else None

    def state(self) -> Mapping[str, Any]:
        """Of the random generator."""
        return self._rng.bit_generator.state

    def close(self) -> None:
        """Nothing runs."""


class PrefetchSampler:
    """Draws AHEAD batches in a thread, so that gathering rows costs the trainer no time."""

    def __init__(self, direct: DirectSampler, *, pin: bool = False) -> None:
        """pin: page-locked memory, which a GPU can fetch while it computes."""
        self._direct, self._pin = direct, pin
        self._state = direct.state()
        self._ready: queue.Queue[_Draw] = queue.Queue(maxsize=AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def next_batch(self, timeout_s: float) -> dict[str, Tensor] | None:
        """The batch drawn first."""
        try:
            draw = self._ready.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._state = draw.state_after
        return draw.batch

    def state(self) -> Mapping[str, Any]:
        """After the batch taken last: a resumed run draws again what lies ready now."""
        return self._state

    def close(self) -> None:
        """Stop drawing."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._direct.can_draw():
                self._stop.wait(0.05)
                continue
            draw = self._direct.draw()
            if self._pin:
                draw = draw._replace(batch={k: x.pin_memory() for k, x in draw.batch.items()})
            while not self._stop.is_set():
                try:
                    self._ready.put(draw, timeout=0.1)
                    break
                except queue.Full:
                    continue
