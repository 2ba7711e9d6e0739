"""How many threads an update uses: as many as there are cores that nobody else keeps busy.

A parallel operation ends with its slowest thread, and one that shares its core with another process
makes all others wait: beside a busy neighbour fewer threads are faster
(docs/decisions/0054-threads.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

from daydreamer.cores import OtherLoad, available_cores

log = logging.getLogger(__name__)

LOOK_S = 2.0  # between two looks at the others
# Of the last core that a thread was given, others must leave LESS, or the thread goes at once; of
# one more core they must leave MORE at CALM looks in a row, or no thread comes.
LESS, MORE, CALM = 0.5, 0.75, 3


class Threads:
    """Sets torch's threads, for the thread of this process that trains."""

    def __init__(
        self,
        wanted: int = 0,
        *,
        follow: bool = True,
        cores: int | None = None,
        all_cores: int | None = None,
        others: Callable[[], float | None] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """wanted: so many, always; 0: all cores, and with `follow` those that are free.

        Sums are split among threads, so that their number shows in the last digits: a run that
        must be repeatable does not follow. cores, all_cores, others, now: what tests replace.
        """
        self._cores = available_cores() if cores is None else cores
        # OpenMP's default: the physical cores, or what the environment says.
        self._most = wanted or min(torch.get_num_threads(), self._cores)
        self._follow = follow and not wanted and self._most > 1
        load = OtherLoad()
        self._others = load.look if others is None else others
        # A quota leaves a share of the machine's time, on whichever cores are free.
        self._all_cores = all_cores or (load.cores if cores is None else cores)
        self._now = now
        self._looked_s = now()
        self._calm = 0
        torch.set_num_threads(self._most)

    def adapt(self) -> None:
        """Look at the others, if it is time to. Call it between two updates."""
        if not self._follow or self._now() - self._looked_s < LOOK_S:
            return
        self._looked_s = self._now()
        others = self._others()
        if others is None:  # nothing tells
            return
        free = min(self._cores, self._all_cores - others)
        threads = torch.get_num_threads()
        self._calm = self._calm + 1 if free >= threads + MORE else 0
        if free < threads - 1 + LESS:
            self._set(int(free + 1 - LESS))
        elif self._calm >= CALM:
            self._set(int(free + 1 - MORE))

    def _set(self, threads: int) -> None:
        threads, before = max(1, min(self._most, threads)), torch.get_num_threads()
        if threads != before:
            torch.set_num_threads(threads)
            log.debug("%d threads instead of %d", threads, before)
            self._calm = 0
