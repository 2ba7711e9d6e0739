"""A learner whose robot is gone goes on from stored data to its bound, and with the robot later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daydreamer.telemetry.metrics import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_learner_dreams_to_its_bound_and_goes_on_when_the_robot_is_back(
    start: Callable[..., Any],
    new_run: list[str],
    port: int,
    until: Callable[..., None],
    info: Callable[[], dict[str, Any]],
    tmp_path: Path,
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    fast = ["wire.liveness_s=1", "wire.heartbeat_s=0.2", "wire.resend_s=0.5"]
    words = ["learner.dream_after_s=0.5", "learner.log_every_s=0.2", "learner.report_every_s=1"]
    short = ["task.episode_steps=40", "learner.holdout_every=4", "learner.batch=2"]
    learner = start("learner", *new_run, f"bind={address}", *fast, *words, *short)
    until(lambda: "listening on" in learner.text, "the learner")
    robot = [*new_run, f"learner={address}", *fast, "task.episode_steps=40"]
    actor = start("actor", *robot, "steps=100000", "actor.realtime=true")
    path = tmp_path / "run" / "learner" / "metrics.jsonl"

    def newest(key: str) -> float:
        lines = read_metrics(path) if path.exists() else []
        return next((line[key] for line in reversed(lines) if key in line), -1)

    until(lambda: newest("learner/updates") >= 25, "training")
    actor.process.kill()
    actor.wait()
    until(lambda: "updates dreamed, as many as learner.dream_share" in learner.text, "the bound")
    until(lambda: newest("learner/dreaming") == 0, "the end of the dream")
    assert learner.text.count("no robot is connected: dreaming on from stored data") == 1
    rows, dreamed, updates = (
        newest(f"learner/{key}") for key in ("rows", "dreamed_updates", "updates")
    )
    # size=debug: 4 rows trained on per row after the 64 of the prefill, 2 x 8 rows an update, and
    # one update of pretraining.
    earned = 4 * (rows - 64) // 16
    assert dreamed == earned // 2
    assert updates == 1 + earned + dreamed

    back = start("actor", *robot, f"steps={int(rows) + 150}", "actor.drain_s=30")
    assert back.wait() == 0, back.text
    assert "a robot is connected again" in learner.text
    until(lambda: newest("learner/updates") > updates + 20, "training to go on")
    learner.interrupt()
    assert learner.wait() == 130, learner.text
    found = info()
    assert found["duplicates_stored"] == 0
    assert found["dreamed_updates"] >= dreamed
    assert found["health"]["windows"] >= 1
    report = tmp_path / "run" / "learner" / "report" / "latest"
    assert (report / "open_loop.png").exists()

    again = start("learner", *new_run, f"bind={address}", *fast, *words, *short)
    until(lambda: "resumed from the checkpoint" in again.text, "the restart")
    until(lambda: again.text.count("rows from the archive") == 1, "the rows")
    again.interrupt()
    assert again.wait() == 130, again.text
    assert newest("learner/dreamed_updates") >= found["dreamed_updates"]
