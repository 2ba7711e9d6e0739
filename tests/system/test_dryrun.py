from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from daydreamer.telemetry.metrics import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def total_steps(run: Path) -> int:
    path = run / "actor-0" / "metrics.jsonl"
    lines = read_metrics(path) if path.exists() else []
    return max((int(line.get("actor/total_steps", 0)) for line in lines), default=0)


def test_a_dry_run_ends_at_its_steps_and_goes_on_even_if_the_newest_checkpoint_is_damaged(
    start: Callable[..., Any],
    new_run: list[str],
    info: Callable[[], dict[str, Any]],
    tmp_path: Path,
) -> None:
    first = start("dryrun", *new_run, "steps=300", "learner.checkpoint_every_s=0.3")
    assert first.wait() == 0, first.text
    found = info()
    assert (found["control_steps"], found["gaps"], found["duplicates_stored"]) == (300, 0, 0)
    assert found["updates"] > 0
    for words in ("next:", "daydreamer eval run=", "daydreamer info", "daydreamer plot"):
        assert words in first.text

    folder = tmp_path / "run" / "learner" / "checkpoints"
    kept = sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())
    assert len(kept) > 1
    state = folder / str(kept[-1]) / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-10])

    again = start("dryrun", f"run={tmp_path / 'run'}", "steps=400")
    assert again.wait() == 0, again.text
    assert "changed since the run began: steps: 300 -> 400" in again.text
    found = info()
    assert (found["control_steps"], found["gaps"], found["duplicates_stored"]) == (400, 0, 0)
    log = (tmp_path / "run" / "learner" / "log.txt").read_text()
    assert f"{folder / str(kept[-1])}.corrupt is kept for study" in log
    assert f"resumed from the checkpoint of update {kept[-2]}" in log


def test_a_finished_run_started_again_is_done_without_training(
    start: Callable[..., Any], new_run: list[str], info: Callable[[], dict[str, Any]]
) -> None:
    words = [*new_run, "steps=200"]
    first = start("dryrun", *words)
    assert first.wait() == 0, first.text
    before = info()
    again = start("dryrun", *words)
    assert again.wait() == 0, again.text
    assert "the run has its 200 control steps already" in again.text
    assert f"done: 200 control steps, {before['updates']:,} updates" in again.text
    after = info()
    assert (after["updates"], after["rows_stored"]) == (before["updates"], before["rows_stored"])


def test_kill_9_of_either_process_costs_neither_rows_nor_the_run(
    start: Callable[..., Any],
    new_run: list[str],
    info: Callable[[], dict[str, Any]],
    until: Callable[..., None],
    rows_journalled_or_stored: Callable[[], int],
) -> None:
    steps = 2000
    # The twin waits for a learner that is away, however long a busy machine takes to start it:
    # alone it would drive to its end, and the kills would come too late.
    patient = ("wire.liveness_s=60", "wire.journal_fsync=false")
    command = start(
        "dryrun", *new_run, f"steps={steps}", "learner.checkpoint_every_s=0.5", *patient
    )
    for verb in ("learner", "actor", "learner", "actor"):
        before = rows_journalled_or_stored()
        until(lambda before=before: rows_journalled_or_stored() > before + 20_000, "rows to flow")
        killed = command.children()[verb]
        killed.kill()
        until(
            lambda verb=verb, old=killed: command.children().get(verb, old).pid != old.pid,
            f"the {verb} to be started again",
        )
    assert command.wait(150) == 0, command.text
    assert command.text.count("was killed (SIGKILL); starting it again") == 4
    found = info()
    assert (found["gaps"], found["duplicates_stored"]) == (0, 0)
    assert found["control_steps"] == steps
    assert found["steps_driven"] >= steps
    assert len(found["sessions"]) == 3
    assert found["updates"] > 0


@pytest.mark.parametrize("moment", ["starting", "training"])
def test_ctrl_c_ends_everything_cleanly(
    start: Callable[..., Any],
    new_run: list[str],
    info: Callable[[], dict[str, Any]],
    until: Callable[..., None],
    rows_journalled_or_stored: Callable[[], int],
    moment: str,
) -> None:
    command = start("dryrun", *new_run, "steps=100000")
    if moment == "starting":
        until(lambda: "learner" in command.children(), "the learner")
    else:
        until(lambda: rows_journalled_or_stored() > 30_000, "rows to flow")
    children = command.children()
    command.interrupt()
    assert command.wait() == 130, command.text
    assert not any(child.is_running() for child in children.values())
    if moment == "training":
        found = info()
        assert (found["gaps"], found["duplicates_stored"]) == (0, 0)
        assert found["actors"]["0"]["journal_chunks"] == 0
        assert "stopped:" in command.text


def test_kill_9_of_the_dry_run_itself_leaves_no_orphan(
    start: Callable[..., Any],
    new_run: list[str],
    until: Callable[..., None],
    rows_journalled_or_stored: Callable[[], int],
    info: Callable[[], dict[str, Any]],
) -> None:
    command = start("dryrun", *new_run, "steps=100000")
    until(lambda: rows_journalled_or_stored() > 30_000, "rows to flow")
    children = list(command.children().values())
    assert len(children) == 2
    command.process.kill()
    command.process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert info()["gaps"] == 0


def test_the_last_words_of_a_process_that_failed_are_shown(
    start: Callable[..., Any], new_run: list[str]
) -> None:
    command = start("dryrun", *new_run, "steps=100", "learner.device=cuda:7")
    assert command.wait() == 1
    assert "the learner failed" in command.text
    assert "learner.device=cuda:7" in command.text
    assert not command.children()


def test_dry_runs_started_at_once_do_not_get_in_each_others_way(
    start: Callable[..., Any], new_run: list[str], tmp_path: Path
) -> None:
    runs = [tmp_path / name for name in ("one", "two")]
    commands = [start("dryrun", *new_run[:2], f"run={run}", "steps=120") for run in runs]
    for command, run in zip(commands, runs, strict=True):
        assert command.wait() == 0, command.text
        assert total_steps(run) == 120
        # A learner that has ended listens nowhere.
        assert not (run / "learner" / "address").exists()


def test_an_actor_finds_a_learner_whose_port_was_taken_while_it_was_away(
    start: Callable[..., Any],
    new_run: list[str],
    info: Callable[[], dict[str, Any]],
    until: Callable[..., None],
    rows_journalled_or_stored: Callable[[], int],
    tmp_path: Path,
) -> None:
    command = start("dryrun", *new_run, "steps=3000", "actor.drain_s=1")
    until(lambda: rows_journalled_or_stored() > 30_000, "rows to flow")
    said = json.loads((tmp_path / "run" / "learner" / "address").read_text())
    learner = command.children()["learner"]
    assert said["pid"] == learner.pid
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        learner.kill()
        psutil.wait_procs([learner], timeout=10)
        taken.bind(("127.0.0.1", int(said["address"].rpartition(":")[2])))
        taken.listen()
        assert command.wait(150) == 0, command.text
    assert "the learner's port was taken meanwhile" in command.text
    found = info()
    assert (found["control_steps"], found["gaps"], found["duplicates_stored"]) == (3000, 0, 0)
    assert found["actors"]["0"]["journal_chunks"] == 0


def test_a_folder_that_is_in_use_is_refused(
    start: Callable[..., Any], new_run: list[str], until: Callable[..., None], tmp_path: Path
) -> None:
    first = start("dryrun", *new_run, "steps=100000")
    until(lambda: (tmp_path / "run" / "config.yaml").exists(), "the run to begin")
    second = start("dryrun", f"run={tmp_path / 'run'}")
    assert second.wait() == 2
    assert "a dry run is running already" in second.text
    first.interrupt()
    assert first.wait() == 130
