"""One learner in two real processes: the same gradients, one voice, no orphan, any world size."""

from __future__ import annotations

import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from daydreamer.agents.ranks import Ranks
from daydreamer.config import load
from daydreamer.replay.archive import Archive
from daydreamer.telemetry.metrics import read_metrics
from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.rows import Chunk, make_schema

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).resolve().parents[2]
RANK = Path(__file__).with_name("rank.py")
PATIENCE_S = 90.0


class Process:
    """A Python process of its own, and what it has said."""

    def __init__(self, words: list[str], output: Path, **environment: str) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                cwd=REPOSITORY,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": str(REPOSITORY),
                    "OMP_NUM_THREADS": "1",
                    **environment,
                },
            )

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {PATIENCE_S} s:\n{self.text}")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline_s or self.process.poll() is not None:
                pytest.fail(f"waited in vain for {what}:\n{self.text}")
            time.sleep(0.05)

    def family(self) -> list[psutil.Process]:
        """Its descendants: the ranks that a torchrun has started."""
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*words: str, **environment: str) -> Process:
        started.append(Process(list(words), tmp_path / f"output-{len(started)}.txt", **environment))
        return started[-1]

    yield begin
    for one in started:
        left = one.family() if one.process.poll() is None else []
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        for orphan in left:
            if orphan.is_running():
                orphan.kill()


@pytest.fixture
def port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def ranks(start: Callable[..., Process], port: str) -> Callable[..., list[Process]]:
    """Two ranks of `daydreamer learner WORDS`, without a torchrun that ends one for another."""

    def begin(*words: str, second: tuple[str, ...] = ()) -> list[Process]:
        return [
            start(
                *("-m", "daydreamer", "learner", *words, *(second if rank else ())),
                TORCHELASTIC_RUN_ID="test",
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE="2",
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=port,
            )
            for rank in range(2)
        ]

    return begin


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A run whose archive has rows enough: it trains from its start, without an actor."""
    words = ["task=a1_walk", "size=debug", f"run={tmp_path / 'run'}", "bind=tcp://127.0.0.1:*"]
    task = load(words).task.build()
    schema = make_schema(task.observations, task.action.size, task.log_keys)
    rng = np.random.default_rng(0)
    with Archive(tmp_path / "run" / "learner" / "replay", schema, "run") as archive:
        for sequence in range(4):
            columns = {
                name: rng.uniform(-1, 1, (50, *column.shape)).astype(column.dtype)
                for name, column in schema.items()
            }
            for flag in ("is_first", "is_last", "is_terminal"):
                columns[flag][:] = False
            columns["is_first"][0] = columns["is_last"][-1] = True
            chunk = Chunk("run", "0", "s", sequence, sequence, 0, columns)
            archive.append(chunk, encode_chunk(chunk))
        archive.commit()
    return [*words, "learner.replay_ratio=1000000", "learner.checkpoint_every_s=0.5"]


@pytest.fixture
def updates(tmp_path: Path) -> Callable[[], int]:
    """Of the run's newest checkpoint."""

    def read() -> int:
        latest = tmp_path / "run" / "learner" / "checkpoints" / "latest"
        return int(latest.resolve().name) if latest.exists() else 0

    return read


def test_two_processes_compute_what_one_does_with_the_joint_batch(
    start: Callable[..., Process], port: str, tmp_path: Path
) -> None:
    outputs = [tmp_path / f"rank-{rank}.npz" for rank in range(2)]
    pair = [start(str(RANK), str(r), "2", port, str(out)) for r, out in enumerate(outputs)]
    one = runpy.run_path(str(RANK))["train"](Ranks())
    for process in pair:
        assert process.wait() == 0, process.text
    both = [dict(np.load(out)) for out in outputs]
    assert one.keys() == both[0].keys() == both[1].keys()
    for name, expected in one.items():
        np.testing.assert_array_equal(both[0][name], both[1][name], err_msg=name)
        if "/gradient/" in name:
            # Of the largest: small ones are differences of large numbers.
            bound = 1e-4 * max(1e-6, float(np.abs(np.nan_to_num(expected)).max()))
            np.testing.assert_allclose(both[0][name], expected, rtol=0, atol=bound, err_msg=name)
        else:
            np.testing.assert_allclose(both[0][name], expected, rtol=1e-4, atol=1e-6, err_msg=name)
    # The NaN in one rank's rows was skipped by both, for the model and for what follows from it.
    assert [one[f"continuous/{update}/metric/bad"] > 0 for update in range(4)] == [
        *(False, False, True, False)
    ]


@pytest.mark.parametrize(("victim", "doing"), [(0, "training"), (1, "training"), (0, "waiting")])
def test_kill_9_of_one_rank_ends_the_other_with_advice(
    ranks: Callable[..., list[Process]],
    words: list[str],
    updates: Callable[[], int],
    tmp_path: Path,
    victim: int,
    doing: str,
) -> None:
    if doing == "waiting":
        words = [*words, "learner.prefill_rows=1000"]
    pair = ranks(*words)
    if doing == "training":
        pair[0].until(lambda: updates() > 0, "a checkpoint")
    else:
        pair[0].until(lambda: "training on" in pair[0].text, "the learner")
    pair[victim].process.kill()
    other = pair[1 - victim]
    assert other.wait() == 1, other.text
    assert f"rank {1 - victim} has lost another of the learner's 2 processes" in other.text
    assert "goes on from its last checkpoint" in other.text
    assert "Traceback" not in other.text


def test_a_silent_rank_is_waited_for_as_long_as_agreed(
    start: Callable[..., Process], port: str
) -> None:
    listener = """
import sys, time
from daydreamer.learner.distributed import IDLE, RankLostError, joined
from daydreamer.learner.launch import Launch
from daydreamer.process import StopFlag
rank = int(sys.argv[1])
with joined(Launch(rank, 2), {}, StopFlag(), "cpu", timeout_s=3) as team:
    if rank == 0:
        time.sleep(600)
    try:
        team.hear()
    except RankLostError as error:
        sys.exit(str(error))
"""
    pair = [
        start("-c", listener, str(rank), RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
              MASTER_PORT=port) for rank in range(2)
    ]  # fmt: skip
    assert pair[1].wait() == 1, pair[1].text
    assert "rank 1 has lost another of the learner's 2 processes" in pair[1].text
    assert "Timed out" in pair[1].text


@pytest.mark.parametrize("asked", [0, 1])
def test_an_interrupt_of_any_rank_ends_all_in_order(
    ranks: Callable[..., list[Process]],
    words: list[str],
    updates: Callable[[], int],
    asked: int,
) -> None:
    pair = ranks(*words, "learner.checkpoint_every_s=1000")
    pair[0].until(lambda: "training on" in pair[0].text, "the learner")
    time.sleep(1.0)
    pair[asked].process.send_signal(signal.SIGINT)
    assert pair[asked].wait() == 130, pair[asked].text
    assert pair[1 - asked].wait() == 0, pair[1 - asked].text
    assert f"stopped after {updates()} updates" in pair[0].text
    assert updates() > 0


def test_a_run_goes_on_with_any_number_of_processes(
    start: Callable[..., Process],
    words: list[str],
    port: str,
    updates: Callable[[], int],
    tmp_path: Path,
) -> None:
    torchrun = ("-m", "torch.distributed.run", "--master-port", port)
    learner = ("-m", "daydreamer", "learner", *words)
    done = 0
    for launcher in ((*torchrun, "--nproc-per-node=2"), (), (*torchrun, "--nproc-per-node=4")):
        process = start(*launcher, *learner)
        process.until(lambda done=done: updates() > done, "updates")
        if done:
            assert f"resumed from the checkpoint of update {done}" in process.text
        family = process.family()
        process.process.send_signal(signal.SIGTERM)
        process.wait()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert not alive
        assert updates() > done
        done = updates()
        # Nobody but rank 0 has written anything.
        assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", "learner"}
    lines = read_metrics(tmp_path / "run" / "learner" / "metrics.jsonl")
    assert all(np.isfinite(line.get("model/loss", 0.0)) for line in lines)


def test_torchrun_starts_the_ranks_again_after_a_kill(
    start: Callable[..., Process], words: list[str], port: str, updates: Callable[[], int]
) -> None:
    process = start(
        *("-m", "torch.distributed.run", "--master-port", port, "--nproc-per-node=2"),
        *("--max-restarts=1", "-m", "daydreamer", "learner", *words),
    )
    process.until(lambda: updates() > 0, "a checkpoint")
    family = [child for child in process.family() if "learner" in child.cmdline()]
    assert len(family) == 2
    family[1].kill()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
    done = updates()
    process.until(lambda: updates() > done, "updates after the restart")
    assert "resumed from the checkpoint of update" in process.text
    family = process.family()
    process.process.send_signal(signal.SIGTERM)
    process.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert not alive


def test_a_robot_learns_from_a_learner_of_two_processes_in_turns(
    start: Callable[..., Process], tmp_path: Path, port: str, updates: Callable[[], int]
) -> None:
    words = ["task=a1_walk", "size=debug", f"run={tmp_path / 'run'}", "mode=lockstep"]
    learner = start(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
        *("-m", "daydreamer", "learner", *words, f"bind=tcp://127.0.0.1:{port}"),
    )
    actor = start(
        *("-m", "daydreamer", "actor", *words, "steps=200", f"learner=tcp://127.0.0.1:{port}"),
        *("actor.drain_s=30",),
    )
    assert actor.wait() == 0, actor.text + learner.text
    learner.process.send_signal(signal.SIGINT)
    learner.wait()
    # 1 before the ratio counts, then ratio * (rows - prefill) / batch rows = 4 * (201 - 64) / 32
    assert 15 <= updates() <= 18
    lines = read_metrics(tmp_path / "run" / "actor-0" / "metrics.jsonl")
    assert max(line.get("actor/policy_version", -1) for line in lines) > 0


def test_a_batch_that_cannot_be_shared_is_refused_with_a_cure(
    ranks: Callable[..., list[Process]], words: list[str]
) -> None:
    for process in ranks(*words, "learner.batch=5"):
        assert process.wait() == 2, process.text
        assert "learner.batch=5 cannot be shared equally by 2 processes" in process.text
        assert "a multiple of 2, e.g. 6" in process.text


def test_ranks_with_other_settings_are_refused_by_name(
    ranks: Callable[..., list[Process]], words: list[str]
) -> None:
    pair = ranks(*words, second=("agent.deter=24",))
    assert pair[1].wait() == 2, pair[1].text
    assert "agent.deter: 24 here, 16 there" in pair[1].text
    assert pair[0].wait() == 1, pair[0].text
