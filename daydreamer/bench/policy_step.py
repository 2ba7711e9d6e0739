"""The process that `daydreamer bench actor` measures: JSON lines on stdout, progress on stderr."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

import daydreamer.actor.session  # noqa: F401  # what an actor imports is part of its start
from daydreamer import interrupts
from daydreamer.actor.policy_runner import PolicyRunner
from daydreamer.bench import guard
from daydreamer.bench.figures import Figure, figure
from daydreamer.bench.guard import ENOUGH, TRIES
from daydreamer.bench.memory import resident_mib
from daydreamer.bench.scenes import film
from daydreamer.bench.workloads import Workload, choose
from daydreamer.config import load
from daydreamer.cores import OtherLoad
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.process import follow_parent
from daydreamer.wire.rows import Array
from daydreamer.wire.weights import unpack_weights
from robots.base import FloatArray

ROUNDS = 7  # undisturbed ones that are wanted
STEPS = 1000  # of a round, at least: a 99th percentile needs them
PACED_STEPS = 200  # in one round
PACE_HZ = 20.0
ROWS = 64  # different observations
EPISODE_STEPS = 250
LOADS = 7
MS = 1e3

Percentiles = tuple[float, float]  # 50th and 99th


def main(words: list[str]) -> int:
    """words: when this process was started, on the monotonic clock; a blob of weights; workload."""
    interrupts.end_at_once()
    follow_parent()
    load(["task=a1_walk"])  # so does an actor: Hydra is part of its start and its memory
    (workload,) = choose(words[2:])
    for found in figures(workload, Path(words[1]), float(words[0])):
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        sys.stdout.flush()
    return 0


def figures(workload: Workload, blob: Path, started_s: float) -> Iterator[Figure]:
    """Everything about one workload."""
    imports_s = time.monotonic() - started_s
    name = workload.name
    robot = Robot(workload)
    robot.load(blob)
    robot.step()
    yield figure(name, "imports", "s", [imports_s])
    yield figure(name, "first_action", "s", [time.monotonic() - started_s])
    for metric, wanted, run in (
        ("step", ROUNDS, partial(_back_to_back, robot.step)),
        ("step_paced", 1, partial(_paced, robot.step)),
    ):
        yield from _latencies(name, metric, wanted, run)
    loads, swaps = [], []
    for _ in range(LOADS):
        loads.append(_time_ms(partial(robot.load, blob)))
        swaps.append(_time_ms(robot.step))
    yield figure(name, "load", "ms", loads)
    yield figure(name, "swap", "ms", swaps)
    if (now_mib := resident_mib()) is not None:
        yield figure(name, "resident", "MiB", [now_mib])
        yield figure(name, "resident_peak", "MiB", [resident_mib("VmHWM") or 0.0])


class Robot:
    """A policy runner and what it gets to see."""

    def __init__(self, workload: Workload) -> None:
        make_policy = partial(NumpyPolicy, workload.agent, workload.observations, workload.action)
        self._runner = PolicyRunner(make_policy, workload.observations, workload.action, seed=0)
        rows = workload.rows(ROWS)
        for key, spec in workload.observations.items():
            if spec.is_image:
                rows[key] = film(ROWS, spec.shape)
        self._looks: list[dict[str, Array]] = [
            {key: rows[key][i] for key in workload.observations} for i in range(ROWS)
        ]
        self._executed: FloatArray = np.zeros(workload.action.size, np.float32)
        self._steps = 0

    def load(self, blob: Path) -> None:
        """All that the link and the loading thread do with a blob that arrived."""
        if not self._runner.load(unpack_weights(blob.read_bytes())):
            raise RuntimeError(f"the policy in {blob} was refused; the log says why")

    def step(self) -> None:
        """One choice, as the control loop asks for it."""
        look = self._looks[self._steps % ROWS]
        is_first = self._steps % EPISODE_STEPS == 0
        self._executed = self._runner.act(look, self._executed, is_first).action
        self._steps += 1


def _latencies(
    name: str, metric: str, wanted: int, run: Callable[[], Percentiles]
) -> Iterator[Figure]:
    """Both percentiles in ms, of rounds during which others left the machine alone."""
    clean: list[Percentiles] = []
    disturbed: list[Percentiles] = []
    for _ in range(TRIES * wanted):
        others = OtherLoad()
        found = run()
        share = (others.look() or 0.0) / others.cores
        is_clean = share <= guard.OTHERS_LIMIT
        (clean if is_clean else disturbed).append(found)
        sys.stderr.write(
            f"bench actor {name}: {metric} {len(clean)} of {wanted}: {found[0]:.3g} ms, 99 % below "
            f"{found[1]:.3g}, others took {100 * share:.0f} % of the cores\n"
        )
        if len(clean) == wanted:
            break
    is_enough = len(clean) >= min(ENOUGH, wanted)
    rounds, suffix = (clean, "") if is_enough else (disturbed, "_disturbed")
    for rank, values in zip(("p50", "p99"), zip(*rounds, strict=True), strict=True):
        yield figure(name, f"{metric}_{rank}{suffix}", "ms", values)


def _back_to_back(step: Callable[[], None]) -> Percentiles:
    end_s = time.perf_counter() + guard.ROUND_S
    times_ms: list[float] = []
    while len(times_ms) < STEPS or time.perf_counter() < end_s:
        times_ms.append(_time_ms(step))
    return _percentiles(times_ms)


def _paced(step: Callable[[], None]) -> Percentiles:
    times_ms = []
    for _ in range(PACED_STEPS):
        time.sleep(1 / PACE_HZ)
        times_ms.append(_time_ms(step))
    return _percentiles(times_ms)


def _percentiles(values: list[float]) -> Percentiles:
    return statistics.median(values), statistics.quantiles(values, n=100)[98]


def _time_ms(work: Callable[[], None]) -> float:
    start_s = time.perf_counter()
    work()
    return MS * (time.perf_counter() - start_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
