"""`daydreamer bench wire`: rows and policies over loopback, and what they weigh.

rows_encoded, rows_decoded      in one process: arrays to frames and back
rows_streamed                   through a robot's journal, ZeroMQ and the archive, both synced
row_*, rows_*hz                 bytes of a row, and of an hour of robot time
film_*, render_*, noise_*       images of a noisy camera, a simulator, and nothing but noise
weights_*, cut_to_swap          a policy from the learner's arrays to the robot's next step
action_*, *_redrawn             what fewer bits change (bench/precision.py); run=DIR: of that run
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from daydreamer.bench.figures import ROUNDS, Figure, figure, rate
from daydreamer.bench.loopback import Loopback, loopback
from daydreamer.bench.precision import action_change, of_run, of_workload
from daydreamer.bench.robot import CHUNK_ROWS, RUN, endless_chunks, schema_of, some_columns
from daydreamer.bench.scenes import film
from daydreamer.bench.workloads import Workload, choose
from daydreamer.config import LearnerConfig, load
from daydreamer.config.groups import options
from daydreamer.learner.publisher import Publisher
from daydreamer.replay.archive import Archive
from daydreamer.wire.codec import decode_chunk, encode_chunk
from daydreamer.wire.images import restore, shrink
from daydreamer.wire.rows import Array, Chunk, make_schema
from daydreamer.wire.weights import pack_weights, unpack_weights
from robots.base import RobotError

log = logging.getLogger(__name__)

STREAMED_CHUNKS = 100  # of 20 rows, in one round
POLICIES = 10  # published one after another
POLICY_WAIT_S = 1.0  # for one of them to take over
RATES_HZ = (20.0, 2.0)  # legs and a fast camera; arms
CHUNK_AGE_S = 1.0  # ActorConfig.chunk_age_s: a chunk has the rows of so long
HOUR_S = 3600.0
MB = 1e6


def bench_wire(words: Sequence[str]) -> Iterator[Figure]:
    """The figures of each workload, W1 and W2 if none is named; then of each task's rows.

    run=DIR: of what fewer bits change in that run's policy, and nothing else.
    """
    if runs := [word[len("run=") :] for word in words if word.startswith("run=")]:
        for run in runs:
            yield from action_change(of_run(Path(run)))
        return
    for workload in choose(words, ("W1", "W2")):
        yield from _codec(workload)
        yield from _bytes(workload)
        yield from _images(workload)
        with loopback(workload, capacity_rows=STREAMED_CHUNKS * CHUNK_ROWS) as ends:
            yield from _streaming(workload, ends)
            yield from _policies(workload, ends)
        yield from action_change(of_workload(workload))
    for task in options("task"):
        yield from _task_bytes(task)


def _codec(workload: Workload) -> Iterator[Figure]:
    schema = schema_of(workload)
    chunk = next(endless_chunks(workload, "0"))
    frames = encode_chunk(chunk, schema)
    plain = sum(array.nbytes for array in chunk.columns.values()) / CHUNK_ROWS

    def encode() -> int:
        encode_chunk(chunk, schema)
        return CHUNK_ROWS

    def decode() -> int:
        decode_chunk(frames, schema)
        return CHUNK_ROWS

    for what, work in {"encoded": encode, "decoded": decode}.items():
        yield from _both_units(rate(workload.name, f"rows_{what}", "rows/s", work), plain)


def _both_units(rows: Figure, row_bytes: float) -> Iterator[Figure]:
    """Rows a second, and the bytes of their arrays."""
    yield rows
    median, low, high = (x * row_bytes / MB for x in (rows.median, rows.min, rows.max))
    yield Figure(rows.workload, f"{rows.metric}_bytes", "MB/s", median, low, high, rows.n)


def _bytes(workload: Workload) -> Iterator[Figure]:
    chunk = next(endless_chunks(workload, "0"))
    plain = sum(array.nbytes for array in chunk.columns.values())
    yield figure(workload.name, "row_plain", "bytes", [plain / CHUNK_ROWS])
    with (
        tempfile.TemporaryDirectory(prefix="daydreamer-") as folder,
        Archive(Path(folder), schema_of(workload), RUN) as archive,
    ):
        before = archive.summary().bytes
        frames = encode_chunk(chunk)
        archive.append(chunk, frames)
        stored = archive.summary().bytes - before
    yield figure(workload.name, "row_on_wire", "bytes", [sum(map(len, frames)) / CHUNK_ROWS])
    yield figure(workload.name, "row_in_archive", "bytes", [stored / CHUNK_ROWS])
    for rate_hz in RATES_HZ:
        yield _hour(workload.name, _chunk_at(workload, rate_hz), rate_hz)


def _chunk_at(workload: Workload, rate_hz: float) -> Chunk:
    """What a robot at this rate sends after CHUNK_AGE_S. Slower cameras see less of the same."""
    columns = some_columns(workload, CHUNK_ROWS)
    step = round(max(RATES_HZ) / rate_hz)
    mine = {name: column[::step] for name, column in columns.items()}
    mine["is_first"] = np.zeros_like(mine["is_first"])
    return Chunk(RUN, "0", "0000000000000-000000", 1000, 10, 500, mine)


def _hour(name: str, chunk: Chunk, rate_hz: float) -> Figure:
    """What an hour of robot time weighs on the wire."""
    row = sum(map(len, encode_chunk(chunk))) / len(chunk)
    return figure(name, f"rows_at_{rate_hz:g}_hz", "MB/h", [row * rate_hz * HOUR_S / MB])


def _task_bytes(task: str) -> Iterator[Figure]:
    """A task's own rows at its body's own rate. Their numbers are zero, which saves no byte."""
    cfg = load([f"task={task}"])
    try:
        built, rate_hz = cfg.task.build(), cfg.body.build(cfg.task).spec.control_hz
    except RobotError as error:  # an environment that is not installed here
        log.warning("no figures of task=%s: %s", task, error)
        return
    schema = make_schema(built.observations, built.action.size, built.log_keys)
    rows = min(cfg.actor.chunk_rows, max(1, round(cfg.actor.chunk_age_s * rate_hz)))
    columns: Mapping[str, Array] = {
        name: film(rows, c.shape) if len(c.shape) == 3 else np.zeros((rows, *c.shape), c.dtype)
        for name, c in schema.items()
    }
    chunk = Chunk(RUN, "0", "0000000000000-000000", 1000, 10, 500, columns)
    yield figure(task, "row_on_wire", "bytes", [sum(map(len, encode_chunk(chunk))) / rows])
    yield _hour(task, chunk, rate_hz)


def _images(workload: Workload) -> Iterator[Figure]:
    """Bytes that encoding leaves, and processor time of a frame."""
    shapes = [spec.shape for spec in workload.observations.values() if spec.is_image]
    for shape in shapes:
        noise = np.random.default_rng(0).integers(0, 256, (CHUNK_ROWS, *shape), np.uint8)
        kinds = {"film": film(CHUNK_ROWS, shape), "render": film(CHUNK_ROWS, shape, noise=0)}
        for kind, images in {**kinds, "noise": noise}.items():
            packed = shrink(images)
            yield _frame_ms(workload.name, f"{kind}_encode", partial(shrink, images))
            if packed is None:
                packed_bytes = images.nbytes
            else:
                packed_bytes = len(packed)
                decode = partial(restore, packed, images.shape)
                yield _frame_ms(workload.name, f"{kind}_decode", decode)
            yield figure(workload.name, f"{kind}_smaller", "times", [images.nbytes / packed_bytes])


def _frame_ms(name: str, metric: str, work: Callable[[], object]) -> Figure:
    """Processor time of one of CHUNK_ROWS frames."""
    found = []
    for _ in range(ROUNDS):
        start_s = time.process_time()
        for _ in range(10):
            work()
        found.append(1000 * (time.process_time() - start_s) / 10 / CHUNK_ROWS)
    return figure(name, metric, "ms/frame", found)


def _streaming(workload: Workload, ends: Loopback) -> Iterator[Figure]:
    rows, plain = [], sum(x.nbytes for x in some_columns(workload, 1).values())
    for _ in range(ROUNDS + 1):
        ends.robot.tell(f"flood {STREAMED_CHUNKS}")
        sent = ends.robot.answer()
        rows.append(sent["rows"] / sent["seconds"])
    yield from _both_units(figure(workload.name, "rows_streamed", "rows/s", rows[1:]), plain)


def _policies(workload: Workload, ends: Loopback) -> Iterator[Figure]:
    from daydreamer.models.policy import build_policy

    name = workload.name
    policy = build_policy(workload.agent, workload.observations, workload.action)
    arrays = policy.arrays()
    plain, blob = (len(pack_weights(arrays, 1, 0.0, half=half)) for half in (False, True))
    yield figure(name, "weights_float32", "MB", [plain / MB])
    yield figure(name, "weights", "MB", [blob / MB])
    every_s = LearnerConfig.publish_every_s
    yield figure(name, f"weights_every_{every_s:g}_s", "MB/h", [blob / MB * HOUR_S / every_s])
    packed = pack_weights(arrays, 1, 0.0, half=True)
    yield _milliseconds(name, "weights_pack", lambda: pack_weights(arrays, 1, 0.0, half=True))
    yield _milliseconds(name, "weights_unpack", lambda: unpack_weights(packed))
    publisher = Publisher(ends.server.publish, every_updates=1, every_s=0.0)
    publisher.start()
    cut_s = {}
    with contextlib.closing(publisher):
        ends.robot.tell("policy")
        ends.robot.answer()
        for version in range(1, POLICIES + 1):
            cut_s[version] = time.time()
            publisher.offer({key: x.copy() for key, x in arrays.items()}, version)
            time.sleep(POLICY_WAIT_S)
        ends.robot.tell("stop")
        took_over = {int(version): at_s for version, at_s in ends.robot.answer().items()}
    # Of the first, the robot's process also imports and warms what it needs.
    taken = [1000 * (took_over[v] - at_s) for v, at_s in cut_s.items() if v in took_over and v > 1]
    if not taken:
        raise RuntimeError(f"no policy of {name} took over within {POLICY_WAIT_S:g} s of its cut")
    yield figure(name, "cut_to_swap", "ms", taken)
    # Superseded before they took over: slower than POLICY_WAIT_S.
    yield figure(name, "cut_to_swap_missing", "policies", [len(cut_s) - 1 - len(taken)])


def _milliseconds(name: str, metric: str, work: Callable[[], object]) -> Figure:
    found = []
    for _ in range(ROUNDS):
        start_s = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - start_s))
    return figure(name, metric, "ms", found)
