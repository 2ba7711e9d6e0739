"""Both ends of the wire on this machine, as in a run: real sockets, disks and processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daydreamer.bench.robot import RUN, schema_of
from daydreamer.bench.workloads import Workload
from daydreamer.learner.ingest import Ingest
from daydreamer.process import PARENT, thread_environment
from daydreamer.replay.archive import Archive
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.server import Server, ServerConfig

END_S = 20.0


class Robot:
    """The process of bench/robot.py, told what to do line by line."""

    def __init__(self, address: str, folder: Path, workload: Workload, *, aside: bool) -> None:
        words = [address, str(folder), workload.name, str(int(aside))]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "daydreamer.bench.robot", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Threads as an actor has them.
            env={**os.environ, **thread_environment(1), PARENT: str(os.getpid())},
        )

    def tell(self, line: str) -> None:
        """Begin a task, or end the one that runs."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What the task came to. Raises RuntimeError when the process has died."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the robot's process ended: exit code {self._process.wait(END_S)}")
        return json.loads(line)

    def cpu_s(self) -> float:
        """Processor seconds it has taken so far. Linux only."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)


@dataclass(frozen=True)
class Loopback:
    """A learner's server, archive and replay memory in this process, a robot in another."""

    server: Server
    archive: Archive
    replay: SequenceReplay
    robot: Robot


@contextlib.contextmanager
def loopback(workload: Workload, capacity_rows: int, *, aside: bool = False) -> Iterator[Loopback]:
    """Everything connected, in a temporary folder on the disk of TMPDIR.

    aside: the robot stands for one with a computer of its own, see bench/robot.py.
    """
    schema = schema_of(workload)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daydreamer-")))
        archive = stack.enter_context(Archive(folder / "replay", schema, RUN))
        replay = SequenceReplay(schema, capacity_rows)
        limiter = ReplayRatioLimiter(1.0, 0, 1)
        server = stack.enter_context(
            Server(
                ServerConfig("tcp://127.0.0.1:*", RUN, workload.name, {}, schema),
                archive,
                on_chunk=Ingest(replay, limiter, in_turns=False).store,
            )
        )
        assert server.bound_address is not None
        robot = stack.enter_context(
            contextlib.closing(
                Robot(server.bound_address, folder / "journal", workload, aside=aside)
            )
        )
        yield Loopback(server, archive, replay, robot)
