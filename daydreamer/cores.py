"""Cores this process may use, and how many of them everybody else keeps busy.

Both are told by Linux; elsewhere the cores are those of the machine and others are not seen.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

STAT = Path("/proc/stat")
QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Columns of a cpu line in which a core worked: user, nice, system, irq, softirq, steal. What a
# hypervisor steals for another machine is as good as somebody else's work.
BUSY = (1, 2, 3, 6, 7, 8)


def available_cores(quota: Path = QUOTA) -> int:
    """Cores that the scheduler and the container leave to this process, at least one."""
    cores = len(allowed_cores())
    try:
        limit, period = quota.read_text(encoding="ascii").split()
    except (OSError, ValueError):  # no such control group
        return cores
    return cores if limit == "max" else max(1, min(cores, int(limit) // int(period)))


def allowed_cores() -> frozenset[int]:
    """The cores that this process may be scheduled on, by number."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


class OtherLoad:
    """How many of the allowed cores other processes (and machines) kept busy, from look to look."""

    def __init__(
        self,
        *,
        stat: Path = STAT,
        own_s: Callable[[], float] = time.process_time,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """own_s: processor seconds so far that are not to count as others'."""
        self._stat, self._own_s, self._now = stat, own_s, now
        self._cores = {f"cpu{core}" for core in allowed_cores()}
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._last = self._read()

    @property
    def cores(self) -> int:
        """How many are watched: all that this process may run on, whatever its quota of them."""
        return len(self._cores)

    def look(self) -> float | None:
        """Cores busy with others since the last look, or None where nothing tells.

        The kernel counts in steps of 10 ms: a look makes sense after half a second or more.
        """
        last, self._last = self._last, self._read()
        if last is None or self._last is None:
            return None
        time_s, busy_s, own_s = (b - a for a, b in zip(last, self._last, strict=True))
        return max(0.0, busy_s - own_s) / time_s if time_s > 0 else None

    def _read(self) -> tuple[float, float, float] | None:
        """Time, processor seconds of all, and our own, up to now."""
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
        except OSError:  # not Linux
            return None
        words = [line.split() for line in lines if line.startswith("cpu")]
        ticks = sum(int(w[i]) for w in words if w[0] in self._cores for i in BUSY)
        return self._now(), ticks * self._tick_s, self._own_s()
