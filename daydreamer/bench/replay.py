"""`daydreamer bench replay`: rows a second into and out of the replay memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from daydreamer.bench.figures import Figure, rate
from daydreamer.bench.workloads import Workload, choose
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk, make_schema

CHUNK_ROWS = 20


def bench_replay(words: Sequence[str]) -> Iterator[Figure]:
    """Rows added and rows sampled, in the workload's own batches, from a full memory."""
    for workload in choose(words, ("W1", "W2")):
        yield from _figures(workload)


def _figures(workload: Workload) -> Iterator[Figure]:
    schema = make_schema(workload.observations, workload.action.size, ())
    zeros = {key: np.zeros((CHUNK_ROWS, *c.shape), c.dtype) for key, c in schema.items()}
    replay = SequenceReplay(schema, workload.replay_rows)
    chunks = (
        Chunk("bench", "0", "0", sequence=i, episode=0, first_row=i * CHUNK_ROWS, columns=zeros)
        for i in itertools.count()
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
    yield rate(workload.name, "rows_added", "rows/s", add)
    yield rate(workload.name, "rows_sampled", "rows/s", sample)
