"""`daydreamer bench replay`: what the replay memory holds, gives and costs.

    rows_added, rows_sampled     into and out of a full memory, one thread
    batch_sampled                one batch of the workload, as an update needs it
    memory                       of the rows held, resident
    restart                      open an archive and refill the memory from it
    ingest_*, update_*, slower_* what rows that arrive cost a learner that trains (bench/ingest.py)

`ingest=0` leaves the last out: they take updates, and minutes.
"""

from __future__ import annotations

import gc
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from daydreamer.bench.child import figures_of
from daydreamer.bench.figures import Figure, figure, rate
from daydreamer.bench.memory import resident_mib
from daydreamer.bench.robot import CHUNK_ROWS, RUN, endless_chunks, schema_of, some_columns
from daydreamer.bench.workloads import Workload, choose
from daydreamer.learner.ingest import Ingest
from daydreamer.replay.archive import Archive
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.rows import Chunk

RESTART_ROWS = 100_000
RESTARTS = 3
ROBOTS = 20  # whose chunks take turns in the memory, as they do with several robots
WITHOUT_INGEST = "ingest=0"


def bench_replay(words: Sequence[str]) -> Iterator[Figure]:
    """The figures of each workload, W1 and W2 if none is named."""
    rest = [word for word in words if word != WITHOUT_INGEST]
    for workload in choose(rest, ("W1", "W2")):
        yield from _memory(workload)
        yield from _restart(workload)
        if WITHOUT_INGEST not in words:
            others = [word for word in rest if not word.startswith("workload=")]
            yield from figures_of("ingest", [f"workload={workload.name}", *others])


def _memory(workload: Workload) -> Iterator[Figure]:
    gc.collect()
    before_mib = resident_mib()
    replay = SequenceReplay(schema_of(workload), workload.replay_rows)
    columns = some_columns(workload, CHUNK_ROWS)
    columns["is_first"][:] = False
    chunks = (
        Chunk(RUN, "0", f"robot-{robot}", sequence, 0, sequence * CHUNK_ROWS, columns)
        for sequence in itertools.count()
        for robot in range(ROBOTS)
    )

    def add() -> int:
        replay.add(next(chunks))
        return CHUNK_ROWS

    rng = np.random.default_rng(0)

    def sample() -> int:
        replay.sample(rng, workload.batch, workload.length)
        return workload.batch * workload.length

    while len(replay) < workload.replay_rows - CHUNK_ROWS:
        add()
    if before_mib is not None and (now_mib := resident_mib()) is not None:
        yield figure(workload.name, "memory", "MiB", [now_mib - before_mib])
    yield rate(workload.name, "rows_added", "rows/s", add)
    sampled = rate(workload.name, "rows_sampled", "rows/s", sample)
    yield sampled
    ms = [1000 * workload.batch * workload.length / x for x in (sampled.max, sampled.min)]
    median_ms = 1000 * workload.batch * workload.length / sampled.median
    yield Figure(workload.name, "batch_sampled", "ms", median_ms, ms[0], ms[1], sampled.n)


def _restart(workload: Workload) -> Iterator[Figure]:
    schema, rows = schema_of(workload), min(RESTART_ROWS, workload.replay_rows)
    with tempfile.TemporaryDirectory(prefix="daydreamer-") as folder:
        with Archive(Path(folder), schema, RUN) as archive:
            for chunk in itertools.islice(endless_chunks(workload, "0"), rows // CHUNK_ROWS):
                archive.append(chunk, encode_chunk(chunk))
            size_mib = archive.summary().bytes / 2**20
        wall, cpu = [], []
        for _ in range(RESTARTS):
            start_s, start_cpu_s = time.perf_counter(), time.process_time()
            with Archive(Path(folder), schema, RUN) as archive:
                replay = SequenceReplay(schema, rows)
                ingest = Ingest(replay, ReplayRatioLimiter(1.0, 0, 1), in_turns=False)
                ingest.load(archive, 0)
            wall.append(time.perf_counter() - start_s)
            cpu.append(time.process_time() - start_cpu_s)
            assert len(replay) == rows
    yield figure(workload.name, "archive_size", "MiB", [size_mib])
    yield figure(workload.name, "restart", "s", wall)
    yield figure(workload.name, "restart_cpu", "s", cpu)
