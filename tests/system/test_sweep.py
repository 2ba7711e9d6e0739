from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import psutil
import pytest

from daydreamer.telemetry.info import collect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

LABELS = ("discount=0.9", "discount=0.99")
SMALL = ("task=a1_walk", "size=debug", "mode=lockstep", "steps=150", "task.episode_steps=25")


def states(folder: Path) -> dict[tuple[str, int], str]:
    path = folder / "sweep.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    return {(run["label"], run["seed"]): run["state"] for run in runs}


def family(command: Any) -> list[psutil.Process]:
    """Every process that the command has started, and theirs."""
    return psutil.Process(command.process.pid).children(recursive=True)


def test_a_sweep_that_is_killed_and_interrupted_goes_on_and_draws(
    start: Callable[..., Any], until: Callable[..., None], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    words = [f"run={folder}", *SMALL, "agent.discount=0.9,0.99", "seeds=0,1", "jobs=2"]

    killed = start("sweep", *words)
    until(lambda: "done" in states(folder).values(), "the first run to be done")
    until(lambda: len(family(killed)) >= 3, "another run")
    children = family(killed)
    killed.process.kill()
    killed.process.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive

    first = next(run for run, state in states(folder).items() if state == "done")
    first_log = folder / first[0] / f"seed{first[1]}.log"
    log_before = first_log.read_bytes()

    interrupted = start("sweep", f"run={folder}", "jobs=2")  # the rest is on record
    until(lambda: len(family(interrupted)) >= 2, "the runs that are left")
    children = family(interrupted)
    interrupted.process.send_signal(signal.SIGINT)
    assert interrupted.wait() == 130, interrupted.text
    assert not any(child.is_running() for child in children)
    assert "done already" in interrupted.text
    assert f"daydreamer sweep run={folder}" in interrupted.text
    assert "running" not in states(folder).values()

    last = start("sweep", *words)
    assert last.wait(200) == 0, last.text
    assert states(folder) == {(label, seed): "done" for label in LABELS for seed in (0, 1)}
    assert first_log.read_bytes() == log_before, "what is done is not started again"
    for label in LABELS:
        for seed in (0, 1):
            found = collect(folder / label / f"seed{seed}")
            assert (found["control_steps"], found["gaps"]) == (150, 0)
        assert f"{label:13}  all   mean of 2" in last.text

    assert cv2.imread(str(folder / "curve.png")) is not None
    with (folder / "curve.csv").open() as file:
        rows = [(row["label"], row["run"]) for row in csv.DictReader(file)]
    assert set(rows) == {
        (label, run) for label in LABELS for run in ("seed0", "seed1", "mean of 2")
    }


def test_a_run_that_fails_stops_no_other_and_has_the_last_word(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    words = [*SMALL, "learner.device=cuda:63,cpu", "seeds=3", "jobs=1"]
    command = start("sweep", f"run={folder}", *words)
    assert command.wait(200) == 1, command.text
    assert states(folder) == {("device=cuda_63", 3): "failed", ("device=cpu", 3): "done"}
    _, _, end = command.text.partition("daydreamer sweep: device=cuda_63 seed 3 failed: exit code")
    assert "the learner failed" in end
    assert "cuda" in end
    assert (folder / "curve.png").exists()
