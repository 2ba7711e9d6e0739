"""Rounds of work, timed; a round during which other processes took the machine does not count."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from daydreamer.cores import OtherLoad

OTHERS_LIMIT = 0.06  # of the cores; more than this makes an update visibly slower
ROUND_S = 1.0  # at least: the kernel accounts for others in steps of 10 ms
TRIES = 3  # times as many are begun at most ...
PATIENCE_S = 10.0  # ... and none after so long, or the time of TRIES, for each that is wanted
LULL_S, LOOK_S = 10.0, 0.5  # after a disturbed round, wait this long at most for a quiet machine
ENOUGH = 3  # clean rounds that a figure needs, unless fewer were wanted

Say = Callable[[str], None]


@dataclass
class Rounds:
    """Seconds that one piece of work took, one entry a round."""

    clean: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    wanted: int = 0

    def __iadd__(self, other: Rounds) -> Rounds:
        self.wanted += other.wanted
        self.clean += other.clean
        self.disturbed += other.disturbed
        return self

    @property
    def is_enough(self) -> bool:
        """Whether the clean rounds make a figure."""
        return len(self.clean) >= max(1, min(ENOUGH, self.wanted))

    @property
    def median_s(self) -> float:
        """Of the clean rounds; only where there is one."""
        return statistics.median(self.clean)


class Guard:
    """Times rounds of `work`, each of as many pieces as fill ROUND_S."""

    def __init__(
        self,
        work: Callable[[], object],
        say: Say,
        *,
        own_s: Callable[[], float] = time.process_time,
    ) -> None:
        """own_s: processor seconds that are part of the measurement, not somebody else's.

        Does the work once, to see how long it takes.
        """
        self._work, self._say, self._own_s = work, say, own_s
        start_s = time.perf_counter()
        work()
        once_s = max(time.perf_counter() - start_s, 1e-6)
        self._pieces = math.ceil(ROUND_S / once_s)
        self._patience_s = max(PATIENCE_S, TRIES * once_s * self._pieces)

    def rounds(self, name: str, wanted: int) -> Rounds:
        """Up to `wanted` clean rounds, with as many tries and as much patience."""
        found, end_s = Rounds(wanted=wanted), time.perf_counter() + self._patience_s * wanted
        for _ in range(TRIES * wanted):
            if len(found.clean) == wanted or time.perf_counter() >= end_s:
                break
            others = OtherLoad(own_s=self._own_s)
            start_s = time.perf_counter()
            for _ in range(self._pieces):
                self._work()
            each_s = (time.perf_counter() - start_s) / self._pieces
            share = (others.look() or 0.0) / others.cores
            is_clean = share <= OTHERS_LIMIT
            (found.clean if is_clean else found.disturbed).append(each_s)
            verdict = "" if is_clean else ", does not count"
            self._say(
                f"{name} {len(found.clean)} of {wanted}: {each_s:.4g} s, "
                f"others took {100 * share:.0f} % of the cores{verdict}"
            )
            if not is_clean:
                self._await_lull()
        return found

    def _await_lull(self) -> None:
        end_s, others = time.perf_counter() + LULL_S, OtherLoad(own_s=self._own_s)
        while time.perf_counter() < end_s:
            time.sleep(LOOK_S)
            if (others.look() or 0.0) / others.cores <= OTHERS_LIMIT:
                return
