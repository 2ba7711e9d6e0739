"""`daydreamer bench twin|replay [--json]`: figures for this machine, as medians with spread."""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from daydreamer import interrupts
from daydreamer.config import Config, ConfigError, load
from daydreamer.config.errors import nearest

ROUNDS = 7
ROUND_S = 0.5


@dataclass(frozen=True)
class Figure:
    """One measured rate over the rounds."""

    workload: str
    metric: str
    unit: str
    median: float
    min: float
    max: float
    n: int


def main(words: list[str]) -> int:
    """Measure, then print a table or, with --json, a list of objects. Raises ConfigError."""
    as_json = "--json" in words
    name, *overrides = [word for word in words if word != "--json"] or [""]
    workload = WORKLOADS.get(name)
    if workload is None:
        found = f"bench {name}: there is no such workload." if name else "bench needs a workload."
        raise ConfigError(f"{found} {nearest(name, WORKLOADS)}")
    figures = list(workload(load(overrides)))
    if as_json:
        sys.stdout.write(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
        return 0
    for f in figures:
        sys.stdout.write(
            f"{f.workload:10} {f.metric:16} {f.median:12,.0f} {f.unit:10}"
            f" ({f.min:,.0f} to {f.max:,.0f}, {f.n} rounds)\n"
        )
    return 0


def bench_twin(config: Config) -> Iterator[Figure]:
    """Control steps a second of the body alone, under random commands, as fast as it goes."""
    robot = config.body.build()
    rng = np.random.default_rng(config.seed)
    command = robot.spec.command
    low, high = np.asarray(command.low), np.asarray(command.high)

    def step() -> int:
        robot.command(rng.uniform(low, high).astype(np.float32))
        robot.read()
        return 1

    interrupts.unwind()
    try:
        robot.connect()
        yield measure(config.body.name, "control_steps", "steps/s", step)
    finally:
        robot.close()


def bench_replay(config: Config) -> Iterator[Figure]:
    """Rows a second that the replay memory hands out in batches of the config's B x T."""
    from daydreamer.replay.sequences import SequenceReplay
    from daydreamer.wire.rows import Chunk, make_schema

    task = config.task.build()
    schema = make_schema(task.observations, task.action.size, task.log_keys)
    rows, capacity = config.actor.chunk_rows, min(config.learner.capacity_rows, 50_000)
    zeros = {key: np.zeros((rows, *col.shape), col.dtype) for key, col in schema.items()}
    replay = SequenceReplay(schema, capacity)
    chunks = (
        Chunk("bench", "0", "0", sequence=i, episode=0, first_row=i * rows, columns=zeros)
        for i in itertools.count()
    )

    def add() -> int:
        replay.add(next(chunks))
        return rows

    batch, length = config.learner.batch, config.learner.length
    rng = np.random.default_rng(config.seed)

    def sample() -> int:
        replay.sample(rng, batch, length)
        return batch * length

    yield measure("replay", "rows_added", "rows/s", add)
    while len(replay) < capacity - rows:
        add()
    yield measure("replay", "rows_sampled", "rows/s", sample)


def measure(workload: str, metric: str, unit: str, work: Callable[[], int]) -> Figure:
    """Repeat `work`, which returns how much it did, in rounds after one that warms up."""
    rates = [_rate(work) for _ in range(ROUNDS + 1)][1:]
    return Figure(
        workload, metric, unit, statistics.median(rates), min(rates), max(rates), len(rates)
    )


def _rate(work: Callable[[], int]) -> float:
    start_s, done = time.perf_counter(), 0
    while (spent_s := time.perf_counter() - start_s) < ROUND_S:
        done += work()
    return done / spent_s


WORKLOADS: dict[str, Callable[[Config], Iterator[Figure]]] = {
    "twin": bench_twin,
    "replay": bench_replay,
}
