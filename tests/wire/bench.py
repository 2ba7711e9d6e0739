"""What the tests of the wire share; child.py imports it too, for real processes to kill."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daydreamer.wire.journal import Journal
from daydreamer.wire.link import Link, LinkConfig
from daydreamer.wire.rows import Array, Chunk, Column, make_schema
from daydreamer.wire.server import Server, ServerConfig

SCHEMA = make_schema(
    {"image": Column("uint8", (4, 4, 3)), "vector": Column("float32", (3,))}, 2, ("speed",)
)
CONFIG = {"task.name": "a1_walk", "task.episode_steps": 250}
WAIT_S = 20.0  # far more than ever needed; only a failing test waits this long


def make_chunk(
    sequence: int = 0, session: str = "s1", actor: str = "a1", rows: int = 3, **columns: Array
) -> Chunk:
    """A chunk that is an episode of its own; its numbers depend on its sequence."""
    rng = np.random.default_rng(sequence)
    arrays: dict[str, Array] = {}
    for name, column in SCHEMA.items():
        shape = (rows, *column.shape)
        arrays[name] = (
            rng.standard_normal(shape).astype(column.dtype)
            if column.dtype.startswith("float")
            else np.zeros(shape, column.dtype)
        )
    arrays["is_first"][0] = True
    return Chunk("test-run", actor, session, sequence, sequence, 0, {**arrays, **columns})


def eventually(true: Callable[[], Any], what: str = "") -> None:
    """Wait until true() holds; fail after WAIT_S."""
    deadline_s = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > deadline_s:
            pytest.fail(f"did not happen within {WAIT_S:g} s: {what}")
        time.sleep(0.005)


class Store:
    """Chunks in memory, with the archive's promises."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, int]] = []
        self.duplicates = 0
        self.commits = 0
        self.broken: str | None = None  # what append raises
        self.broken_commit: str | None = None

    def append(self, chunk: Chunk, frames: list[bytes]) -> bool:
        if self.broken is not None:
            raise OSError(self.broken)
        if chunk.sequence <= self.high_water(chunk.session):
            self.duplicates += 1
            return False
        self.stored.append((chunk.session, chunk.sequence))
        return True

    def commit(self) -> None:
        if self.broken_commit is not None:
            raise OSError(self.broken_commit)
        self.commits += 1

    def high_water(self, session: str) -> int:
        return max((seq for name, seq in self.stored if name == session), default=-1)


def link_config(address: str, folder: Path, **changes: Any) -> LinkConfig:
    actor = changes.get("actor", "a1")
    values: dict[str, Any] = {
        **{"address": address, "actor": actor, "session": "s1"},
        **{"fingerprint": "same", "config": CONFIG, "schema": SCHEMA},
        **{"heartbeat_s": 0.05, "resend_s": 0.3, "liveness_s": 2.0},
        **changes,
    }
    return LinkConfig(journal=Journal(folder / f"actor-{actor}" / "journal", fsync=False), **values)


def server_config(bind: str = "tcp://127.0.0.1:*", **changes: Any) -> ServerConfig:
    values: dict[str, Any] = {"config": CONFIG, "schema": SCHEMA, **changes}
    return ServerConfig(**{"bind": bind, "run": "test-run", "fingerprint": "same", **values})


class Bench:
    """Makes links and servers, and closes them when the test ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open: list[Link | Server] = []
        self._children: list[subprocess.Popen[str]] = []

    def server(self, store: Any, on: dict[str, Any] | None = None, **changes: Any) -> Server:
        server = Server(server_config(**changes), store, **(on or {}))
        server.start()
        self._open.append(server)
        return server

    def link(self, address: str | None, **changes: Any) -> Link:
        assert address is not None
        link = Link(link_config(address, self.folder, **changes))
        link.start()
        self._open.append(link)
        return link

    def child(self, *arguments: object) -> subprocess.Popen[str]:
        """child.py in a process of its own, stopped by kill -9 at the latest when the test ends."""
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.wire.child", *map(str, arguments)],
            **{"stdout": subprocess.PIPE, "text": True},
            cwd=Path(__file__).parents[2],
            env={"OMP_NUM_THREADS": "1"},
        )
        self._children.append(child)
        return child

    def close(self) -> None:
        for item in reversed(self._open):
            if isinstance(item, Link):
                item.close(drain_s=0)
            else:
                item.close()
        for child in self._children:
            child.kill()
            child.wait(WAIT_S)
            assert child.stdout is not None
            child.stdout.close()
