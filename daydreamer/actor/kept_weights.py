"""RUN/actor-<id>/policy.safetensors: the newest policy, for an actor whose learner is away.

Without it an actor that is started again while the network is down would act at random, though it
had a policy a minute ago.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from daydreamer.wire.headers import WireError
from daydreamer.wire.weights import Weights, pack_weights, unpack_weights

log = logging.getLogger(__name__)

FILE = "policy.safetensors"
KEEP_EVERY_S = 60.0  # a robot's flash card wears out: megabytes every few seconds are too many


class KeptWeights:
    """One file, complete or as it was before. For the loading thread."""

    def __init__(
        self,
        folder: Path,
        *,
        every_s: float = KEEP_EVERY_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """every_s: between two writes; what came in between waits for the next, or for close()."""
        self._path = folder / FILE
        self._every_s, self._now = every_s, now
        self._written_s = -float("inf")
        self._waiting: tuple[Weights, float] | None = None  # and when they came, seconds since 1970

    def keep(self, weights: Weights) -> None:
        """These are in use now."""
        self._waiting = weights, time.time()
        if self._now() - self._written_s >= self._every_s:
            self._write(*self._waiting)

    def close(self) -> None:
        """Write what waits."""
        if self._waiting is not None:
            self._write(*self._waiting)

    def read(self) -> tuple[Weights, float] | None:
        """The weights kept and the seconds since, or None where there are none to be trusted."""
        try:
            blob = self._path.read_bytes()
            age_s = max(0.0, time.time() - self._path.stat().st_mtime)
            return unpack_weights(blob), age_s
        except FileNotFoundError:
            return None
        except (OSError, WireError) as error:
            log.warning("the policy kept in %s is left aside: %s", self._path, error)
            return None

    def _write(self, weights: Weights, came_s: float) -> None:
        self._waiting, self._written_s = None, self._now()
        temporary = self._path.with_suffix(".tmp")
        try:
            # They came as float16: this is lossless.
            blob = pack_weights(weights.tensors, weights.version, weights.cut_time_s, half=True)
            with temporary.open("wb") as file:
                file.write(blob)
                file.flush()
                os.fsync(file.fileno())  # complete or as it was before, also after a power cut
            os.utime(temporary, (came_s, came_s))  # their age, not the file's
            temporary.replace(self._path)
        except OSError as error:
            log.warning("policy version %d cannot be kept: %s", weights.version, error)
