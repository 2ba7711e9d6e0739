"""The robot's end of `bench replay` and `bench wire`: a real link in a process of its own.

python -m daydreamer.bench.robot ADDRESS FOLDER WORKLOAD ASIDE

# line on stdin      answer on stdout, one JSON object
# feed RATE          at the next line: rows, seconds and processor seconds it took
# flood CHUNKS       once all are acknowledged: the same
# policy             {} at once; at the next line {version: seconds since the epoch at which the
#                    control steps in between began to use it}
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from daydreamer.actor.policy_runner import PolicyRunner, WeightsLoader
from daydreamer.bench.scenes import film
from daydreamer.bench.workloads import Workload, choose
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.process import follow_parent
from daydreamer.wire.journal import Journal
from daydreamer.wire.link import Link, LinkConfig
from daydreamer.wire.names import new_session
from daydreamer.wire.rows import Array, Chunk, Schema, make_schema

CHUNK_ROWS = 20  # a second of a robot at 20 Hz, the age at which its chunks are closed
PATIENCE_S = 300.0  # of a task, in all
STEP_S = 0.001  # between two control steps while policies arrive
RUN = "bench"


def schema_of(workload: Workload) -> Schema:
    """Columns of the workload's rows."""
    return make_schema(workload.observations, workload.action.size, ())


def some_columns(workload: Workload, rows: int) -> dict[str, Array]:
    """Columns of `rows` consecutive rows: noise, but a camera's frames hang together."""
    made: Mapping[str, Array] = workload.rows(rows)
    columns = {
        name: np.array(made.get(name, np.zeros((rows, *c.shape))), c.dtype)
        for name, c in schema_of(workload).items()
    }
    for name, spec in workload.observations.items():
        if spec.is_image:
            columns[name] = film(rows, spec.shape)
    return columns


def endless_chunks(workload: Workload, session: str) -> Iterator[Chunk]:
    """Chunks of one episode that never ends."""
    films = 8  # chunks that differ
    columns = some_columns(workload, films * CHUNK_ROWS)
    columns["is_first"][:] = False
    sequence = 0
    while True:
        start = sequence % films * CHUNK_ROWS
        mine = {name: x[start : start + CHUNK_ROWS].copy() for name, x in columns.items()}
        mine["is_first"][0] = sequence == 0
        yield Chunk(RUN, "0", session, sequence, 0, sequence * CHUNK_ROWS, mine)
        sequence += 1


def main(address: str, folder: str, name: str, aside: str) -> None:
    """Serve the lines on stdin until it ends.

    aside: 1 for a robot that is to leave disk and cores to what is measured, as if it had its own.
    """
    follow_parent()
    if aside == "1":
        os.nice(19)
    workload = choose([f"workload={name}"])[0]
    session = new_session()
    link = Link(
        LinkConfig(
            address=address,
            actor="0",
            session=session,
            journal=Journal(Path(folder), fsync=aside != "1"),
            fingerprint=name,
            config={},
            schema=schema_of(workload),
        )
    )
    link.start()
    chunks = endless_chunks(workload, session)
    try:
        for line in iter(sys.stdin.readline, ""):
            task, _, number = line.partition(" ")
            if task == "policy\n":
                answer: object = _take_over(link, workload)
            else:
                send = partial(_feed if task == "feed" else _flood, link, chunks, float(number))
                answer = _timed(link, send)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        link.close(drain_s=0)


def _timed(link: Link, send: Callable[[], int]) -> dict[str, float]:
    """Rows sent, and what it took until the learner had acknowledged them all."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    # Not the journal's depth: what is in the link's queue is not in the journal yet.
    stored = link.status.stored
    rows = send()
    end_s = time.perf_counter() + PATIENCE_S
    while link.status.stored < stored + rows // CHUNK_ROWS:
        if time.perf_counter() > end_s:
            raise TimeoutError(f"rows are not stored after {PATIENCE_S:g} s: {link.status}")
        time.sleep(0.001)
    return {
        "rows": rows,
        "seconds": time.perf_counter() - start_s,
        "cpu_s": time.process_time() - start_cpu_s,
    }


def _feed(link: Link, chunks: Iterator[Chunk], rows_per_s: float) -> int:
    """Send at this rate until there is a line to read."""
    rows, due_s = 0, time.perf_counter()
    while not _is_told():
        link.send(next(chunks))
        rows += CHUNK_ROWS
        due_s += CHUNK_ROWS / rows_per_s
        time.sleep(max(0.0, due_s - time.perf_counter()))
    sys.stdin.readline()
    return rows


def _flood(link: Link, chunks: Iterator[Chunk], count: float) -> int:
    """Send so many chunks at once."""
    for _ in range(round(count)):
        link.send(next(chunks))
    return round(count) * CHUNK_ROWS


def _take_over(link: Link, workload: Workload) -> dict[int, float]:
    """Control steps with whatever policy came last, until there is a line to read."""
    runner = PolicyRunner(
        partial(NumpyPolicy, workload.agent, workload.observations, workload.action),
        workload.observations,
        workload.action,
        seed=0,
    )
    loader = WeightsLoader(link.newest_weights, runner)
    loader.start()
    row = {name: x[0] for name, x in some_columns(workload, 1).items()}
    obs = {name: row[name] for name in workload.observations}
    took_over: dict[int, float] = {}
    sys.stdout.write("{}\n")  # ready
    sys.stdout.flush()
    try:
        while not _is_told():
            version = runner.act(obs, row["action"], False).version
            took_over.setdefault(version, time.time())
            time.sleep(STEP_S)
    finally:
        loader.close()
    sys.stdin.readline()
    return took_over


def _is_told() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
