"""Known tasks through the same two processes as the robot's twin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daydreamer.telemetry.metrics import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def returns_of(run: Path) -> list[float]:
    lines = read_metrics(run / "actor-0" / "metrics.jsonl")
    return [line["episode/return"] for line in lines if "episode/return" in line]


def test_a_lockstep_run_on_an_environment_repeats_and_is_evaluated(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    def words(name: str) -> list[str]:
        return [
            *("task=gym", "task.id=Pendulum-v1", "size=debug", f"run={tmp_path / name}"),
            *("mode=lockstep", "seed=4", "steps=450"),
        ]

    for name in ("one", "two"):
        done = start("dryrun", *words(name))
        assert done.wait() == 0, done.text
    returns = returns_of(tmp_path / "one")
    assert len(returns) == 2, "two episodes of 200 steps"
    assert returns[0] != returns[1]
    assert returns_of(tmp_path / "two") == returns

    done = start("eval", f"run={tmp_path / 'one'}", "episodes=2", "task.episode_steps=20")
    assert done.wait() == 0, done.text
    assert "gym_Pendulum-v1" in done.text
    (path,) = (tmp_path / "one").glob("eval/*/results.json")
    results = json.loads(path.read_text())
    assert [one["length"] for one in results["episodes"]] == [20, 20]
    assert results["episodes"][0]["total"] != results["episodes"][1]["total"]

    # Going on with the run begins other episodes than it began with.
    more = start("dryrun", f"run={tmp_path / 'one'}", "steps=900")
    assert more.wait() == 0, more.text
    assert len(set(returns_of(tmp_path / "one"))) == 4
