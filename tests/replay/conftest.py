"""Chunks with known values: row k of a session holds k in every number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from daydreamer.replay.archive import Archive
from daydreamer.wire.rows import Chunk, Column, Schema, make_schema

MakeChunk = Callable[..., Chunk]


def build_schema(image: bool = False) -> Schema:
    observations = {"vector": Column("float32", (3,))}
    if image:
        observations["image"] = Column("uint8", (4, 4, 3))
    return make_schema(observations, action_size=2, log_keys=("height",))


def build_chunk(
    session: str = "s0",
    sequence: int = 0,
    *,
    rows: int = 4,
    value: float = 0.0,
    episode: int = 0,
    first_row: int = 0,
    last: bool = False,
    schema: Schema | None = None,
) -> Chunk:
    """A chunk whose row i holds value + i in every numeric column."""
    schema = schema or build_schema()
    numbers = value + np.arange(rows)
    columns = {}
    for name, column in schema.items():
        shape = (rows, *[1] * len(column.shape))
        columns[name] = np.broadcast_to(numbers.reshape(shape), (rows, *column.shape)).astype(
            column.dtype
        )
    for name in ("is_first", "is_last", "is_terminal"):
        columns[name] = np.zeros(rows, bool)
    columns["is_first"][0] = first_row == 0
    columns["is_last"][-1] = last
    columns["actor"] = np.zeros(rows, np.uint8)
    return Chunk("run", f"actor-{session}", session, sequence, episode, first_row, columns)


def build_stream(
    session: str, episodes: list[list[int]], *, start: float = 0.0, schema: Schema | None = None
) -> Iterator[Chunk]:
    """Chunks of whole episodes, one list of chunk sizes each; rows numbered from `start`."""
    sequence, value = 0, start
    for episode, sizes in enumerate(episodes):
        first_row = 0
        for index, rows in enumerate(sizes):
            yield build_chunk(
                session,
                sequence,
                rows=rows,
                value=value,
                episode=episode,
                first_row=first_row,
                last=index == len(sizes) - 1,
                schema=schema,
            )
            sequence, value, first_row = sequence + 1, value + rows, first_row + rows


@pytest.fixture(scope="session")
def schema() -> Schema:
    return build_schema()


@pytest.fixture(scope="session")
def make_chunk() -> MakeChunk:
    return build_chunk


@pytest.fixture(scope="session")
def make_stream() -> Callable[..., Iterator[Chunk]]:
    return build_stream


@pytest.fixture
def open_archive(tmp_path: Path, schema: Schema) -> Iterator[Callable[..., Archive]]:
    """Open RUN/learner/replay of the test's run, with small segments; closed afterwards."""
    opened: list[Archive] = []

    def open_(segment_bytes: int = 1 << 20, capacity_rows: int | None = None) -> Archive:
        archive = Archive(archive_root(tmp_path), schema, "run", segment_bytes, capacity_rows)
        opened.append(archive)
        return archive

    yield open_
    for archive in opened:
        archive.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return archive_root(tmp_path)


def archive_root(run: Path) -> Path:
    return run / "learner" / "replay"
