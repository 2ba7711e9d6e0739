"""Real processes: `python -m daydreamer ...`, watched from outside like a user would."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 90.0


class Command:
    """A running `daydreamer VERB ...`."""

    def __init__(self, words: list[str], output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daydreamer", *words],
                cwd=REPOSITORY,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def children(self) -> dict[str, psutil.Process]:
        """The learner and the actor that a dry run has started."""
        found = {}
        try:
            for child in psutil.Process(self.process.pid).children():
                words = child.cmdline()
                for verb in ("learner", "actor"):
                    if verb in words:
                        found[verb] = child
        except psutil.NoSuchProcess:
            return {}
        return found

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout_s} s:\n{self.text}")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """For the teardown: nothing of it may be left, whatever the test did."""
        left = list(self.children().values())
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for child in left:
            if child.is_running():
                child.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Start a command; size=debug on the A1 twin unless it goes on with a run."""
    commands: list[Command] = []

    def begin(verb: str, *words: str) -> Command:
        command = Command([verb, *words], tmp_path / f"output-{len(commands)}.txt")
        commands.append(command)
        return command

    yield begin
    for command in commands:
        command.end()


@pytest.fixture
def new_run(tmp_path: Path) -> list[str]:
    """Words that begin a small run in a folder of its own."""
    return ["task=a1_walk", "size=debug", f"run={tmp_path / 'run'}"]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def info(tmp_path: Path) -> Callable[[], dict[str, Any]]:
    """`daydreamer info --json` of the run."""

    def ask() -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "daydreamer", "info", str(tmp_path / "run"), "--json"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return ask


@pytest.fixture
def until() -> Callable[..., None]:
    """Wait for a condition, bounded; `what` says for what it was waited in vain."""

    def wait(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                pytest.fail(f"waited {timeout_s} s in vain for {what}")
            time.sleep(0.05)

    return wait


@pytest.fixture
def rows_journalled_or_stored(tmp_path: Path) -> Callable[[], int]:
    """Bytes that the run's archive holds: grows while rows flow."""

    def count() -> int:
        return sum(path.stat().st_size for path in (tmp_path / "run").glob("learner/replay/*.seg"))

    return count


@pytest.fixture(autouse=True)
def one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert os.environ["OMP_NUM_THREADS"] == "1"
