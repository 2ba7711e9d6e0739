"""What a benchmark reports, and how a rate is measured: rounds, medians, spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUNDS = 7
ROUND_S = 0.5


@dataclass(frozen=True)
class Figure:
    """One measured quantity over its rounds."""

    workload: str
    metric: str
    unit: str
    median: float
    min: float
    max: float
    n: int


def figure(workload: str, metric: str, unit: str, values: Sequence[float]) -> Figure:
    """Median and spread of `values`, at least one."""
    return Figure(
        workload, metric, unit, statistics.median(values), min(values), max(values), len(values)
    )


def rate(workload: str, metric: str, unit: str, work: Callable[[], float]) -> Figure:
    """Repeat `work`, which returns how much it did, in rounds after one that warms up."""
    return figure(workload, metric, unit, [_rate(work) for _ in range(ROUNDS + 1)][1:])


def _rate(work: Callable[[], float]) -> float:
    start_s, done = time.perf_counter(), 0.0
    while (spent_s := time.perf_counter() - start_s) < ROUND_S:
        done += work()
    return done / spent_s
