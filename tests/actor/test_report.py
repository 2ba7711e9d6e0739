from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daydreamer.actor.loop import StepRecord
from daydreamer.actor.policy_runner import Choice
from daydreamer.actor.report import Report
from daydreamer.telemetry.metrics import MetricsLog, read_metrics
from daydreamer.wire.rows import POLICY, RANDOM
from robots.base import Arrival


def record(
    reward: float, is_last: bool = False, who: int = POLICY, begins: bool = False
) -> StepRecord:
    arrival = Arrival({}, reward, is_last=is_last, log={"height": reward / 2})
    return StepRecord(arrival, 0.05, Choice(np.zeros(1, np.float32), 3, who), 1.5, begins)


def test_an_episode_is_summed_up_in_a_line_of_its_own(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl") as metrics:
        report = Report(metrics, "s1", dict)
        report.start()
        for step in (record(1.0, who=RANDOM), record(2.0), record(6.0, is_last=True), record(1.0)):
            report.add(step)
        report.close()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    (episode,) = [line for line in lines if "episode/return" in line]
    assert episode["episode/return"] == 9
    assert episode["episode/length"] == 3
    assert episode["episode/reward_per_step"] == 3
    assert episode["log_height"] == pytest.approx(1.5)
    assert episode["episode/final_height"] == 3
    assert episode["actor/robot_seconds"] == pytest.approx(0.15)
    last = lines[-1]
    assert last["session"] == "s1"
    assert last["actor/control_steps"] == 4
    assert last["actor/random_steps"] == 1
    assert last["actor/reward_per_step"] == pytest.approx(2.5)


def test_an_interrupted_episode_adds_nothing_to_the_next_one(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl") as metrics:
        report = Report(metrics, "s1", dict)
        report.start()
        for step in (record(100.0, begins=True), record(1.0, begins=True), record(2.0, True)):
            report.add(step)
        report.close()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["episode/return"] for line in lines if "episode/return" in line] == [3]


def test_gauges_are_read_when_a_line_is_written(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl") as metrics:
        report = Report(metrics, "s1", lambda: {"actor/late_steps": 4})
        report.start()
        report.close()
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["actor/late_steps"] == 4
