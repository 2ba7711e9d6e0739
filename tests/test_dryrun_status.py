"""What a dry run shows of the figures that its two processes write."""

from __future__ import annotations

from pathlib import Path

from daydreamer.dryrun_status import Status
from daydreamer.telemetry.metrics import MetricsLog


def test_a_learner_whose_disk_is_full_is_shown_until_it_is_not(tmp_path: Path) -> None:
    status = Status(tmp_path, "0", total_steps=100)
    with MetricsLog(tmp_path / "learner" / "metrics.jsonl") as metrics:
        metrics.write(10, {"learner/trouble": True})
        assert str(tmp_path / "learner" / "log.txt") in status.read().message
        metrics.write(20, {"learner/trouble": False})
        assert status.read().message == ""


def test_a_learner_that_refuses_the_actor_is_shown_until_it_does_not(tmp_path: Path) -> None:
    status = Status(tmp_path, "0", total_steps=100)
    with MetricsLog(tmp_path / "actor-0" / "metrics.jsonl") as metrics:
        metrics.write(10, {"actor/total_steps": 10, "actor/refused": True}, session="s")
        shown = status.read()
        assert "the learner refuses the actor" in shown.message
        assert str(tmp_path / "actor-0" / "log.txt") in shown.message
        assert status.read(message="the learner is ending").message == "the learner is ending"
        metrics.write(20, {"actor/total_steps": 20, "actor/refused": False}, session="s")
        assert status.read().message == ""


def test_steps_that_a_killed_actor_did_not_report_still_count(tmp_path: Path) -> None:
    status = Status(tmp_path, "0", total_steps=1000)
    with MetricsLog(tmp_path / "actor-0" / "metrics.jsonl") as metrics:
        first = {"actor/control_steps": 100, "actor/robot_seconds": 5.0, "actor/total_steps": 100}
        metrics.write(100, first, session="killed")
    with MetricsLog(tmp_path / "learner" / "metrics.jsonl") as metrics:
        metrics.write(10, {"learner/control_steps": 160})
    shown = status.read()
    assert shown.control_steps == 160
    assert shown.robot_seconds == 8.0  # 160 steps of 0.05 s
