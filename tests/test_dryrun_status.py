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


def test_steps_that_a_killed_actor_took_with_it_count_as_driven_time_only(tmp_path: Path) -> None:
    status = Status(tmp_path, "0", total_steps=200)
    with MetricsLog(tmp_path / "actor-0" / "metrics.jsonl") as metrics:
        counters = {"actor/control_steps": 100, "actor/robot_seconds": 5.0}
        metrics.write(100, {**counters, "actor/total_steps": 100}, session="killed")
        assert status.read().control_steps == 100
        # 20 of the 100 were lost, so the next actor drives 120.
        counters = {"actor/control_steps": 120, "actor/robot_seconds": 6.0}
        metrics.write(120, {**counters, "actor/total_steps": 200}, session="next")
    shown = status.read()
    assert shown.control_steps == 200
    assert shown.robot_seconds == 11.0


def test_pretraining_is_named_and_told_from_the_prefill_before_it(tmp_path: Path) -> None:
    status = Status(tmp_path, "0", total_steps=1000, prefill_rows=100, pretrain=50, waits=True)
    assert status.read().phase == "starting"
    with (
        MetricsLog(tmp_path / "actor-0" / "metrics.jsonl") as actor,
        MetricsLog(tmp_path / "learner" / "metrics.jsonl") as learner,
    ):
        no_policy = {"actor/policy_version": -1, "actor/policy_age_s": 2.0}
        actor.write(40, {"actor/total_steps": 40, **no_policy}, session="s")
        shown = status.read()
        assert shown.phase == "prefill"
        assert shown.message == "collecting 100 rows before the first update"
        assert shown.policy_version is shown.policy_age_s is None
        assert status.read("finishing").message == ""

        learner.write(0, {"learner/rows": 104, "learner/updates": 0})
        shown = status.read()
        assert shown.phase == "pretraining"
        assert shown.message == "50 update(s) on the rows so far, while the twin waits"
        learner.write(49, {"learner/updates": 49, "learner/trouble": True})
        shown = status.read()
        assert shown.phase == "pretraining"
        assert "log.txt" in shown.message, "trouble is more urgent"

        learner.write(50, {"learner/updates": 50, "learner/trouble": False})
        actor.write(120, {"actor/total_steps": 120, "actor/policy_version": 50}, session="s")
        shown = status.read()
        assert (shown.phase, shown.message, shown.policy_version) == ("training", "", 50)


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


def test_dreaming_is_said_while_it_goes_on(tmp_path: Path) -> None:
    status = Status(tmp_path, "0", total_steps=100)
    with MetricsLog(tmp_path / "learner" / "metrics.jsonl") as metrics:
        metrics.write(10, {"learner/updates": 10, "learner/dreaming": True})
        assert status.read().message == "no robot is connected: dreaming on from stored data"
        metrics.write(20, {"learner/updates": 20, "learner/dreaming": False})
        assert status.read().message == ""
