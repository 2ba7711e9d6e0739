from __future__ import annotations

import atexit
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from daydreamer.config.errors import ConfigError
from daydreamer.process import (
    PARENT,
    StopFlag,
    claim,
    follow_parent,
    start_logging,
    thread_environment,
)

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def signals() -> Iterator[StopFlag]:
    """A flag that answers signals, and the handlers of before put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield StopFlag().install()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_a_clean_stop(signals: StopFlag, number: int) -> None:
    assert not signals()
    os.kill(os.getpid(), number)
    assert signals.wait(5.0)
    assert signals.exit_code == 130


def test_a_second_ctrl_c_does_not_wait(signals: StopFlag) -> None:
    signals.set()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_from_inside_is_no_interruption() -> None:
    flag = StopFlag()
    assert not flag.wait(0.01)
    flag.set()
    assert flag.wait(5.0)
    assert flag.exit_code == 0


def test_a_folder_belongs_to_one_process(tmp_path: Path) -> None:
    with (
        claim(tmp_path / "run", "a learner", "choose another run=DIR"),
        pytest.raises(ConfigError, match="a learner is running already"),
        claim(tmp_path / "run", "a learner", "choose another run=DIR", wait_s=0.0),
    ):
        pytest.fail("claimed twice")
    with claim(tmp_path / "run", "a learner", "choose another run=DIR"):
        assert (tmp_path / "run" / "lock").exists()


def test_a_thread_limit_holds_for_every_native_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    pools = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"}
    waiting = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
    assert thread_environment(2) == {**dict.fromkeys(pools, "2"), **waiting}
    assert thread_environment(0) == waiting
    for name, value in {"OMP_WAIT_POLICY": "ACTIVE", "GOMP_SPINCOUNT": "7"}.items():
        with monkeypatch.context() as own:
            own.setenv(name, value)
            assert thread_environment(0) == {}


def test_the_log_goes_to_a_file_too(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = list(root.handlers)
    writer = start_logging(tmp_path / "learner" / "log.txt")
    try:
        logging.getLogger("daydreamer.test").warning("a line")
    finally:
        root.handlers = before
        atexit.unregister(writer.stop)
        writer.stop()
        for handler in [handler for handler in writer.handlers if handler not in before]:
            handler.close()
    assert "WARNING daydreamer.test: a line" in (tmp_path / "learner" / "log.txt").read_text()


BUSY_DISK = """
import logging, sys, threading
from pathlib import Path
from daydreamer.process import start_logging
writer = start_logging(Path(sys.argv[1]))
gate = threading.Event()
for handler in writer.handlers:
    emit = handler.emit
    handler.emit = lambda record, emit=emit: gate.wait(60) and emit(record)
logging.getLogger("x").warning("said while the disk is busy")
print("the control thread went on", flush=True)
gate.set()
"""


def test_a_log_line_waits_for_the_disk_and_nobody_for_the_log_line(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    done = subprocess.run(
        [sys.executable, "-c", BUSY_DISK, str(file)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "the control thread went on\n"
    assert "said while the disk is busy" in done.stderr
    assert "said while the disk is busy" in file.read_text()  # also what waited at the end


def test_a_process_whose_parent_is_gone_already_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PARENT, "1" if os.getppid() != 1 else "2")
    monkeypatch.setattr("sys.platform", "elsewhere")  # no prctl on the test's own process
    with pytest.raises(SystemExit):
        follow_parent()


PARENT_PROCESS = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", '''
import time
from daydreamer.process import StopFlag, follow_parent
follow_parent()
stop = StopFlag().install()
print("ready", flush=True)
stop.wait(60)
'''], env={**os.environ, "DAYDREAMER_PARENT": str(os.getpid())}, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""


def test_a_child_ends_when_its_parent_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT_PROCESS], stdout=subprocess.PIPE, cwd=REPOSITORY
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
    deadline_s = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline_s, "the child outlives its parent"
        time.sleep(0.05)
