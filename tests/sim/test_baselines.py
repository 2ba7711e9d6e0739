"""The baseline script: what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from daydreamer.config import load
from sim.baselines.a1_walk import main

pytest.importorskip("pybullet", reason="twins need PyBullet, whose wheels end at Python 3.11")


def lines(folder: Path) -> list[dict[str, float]]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_random_policy_writes_a_line_per_episode(tmp_path: Path) -> None:
    assert main(["--agent", "random", "--steps", "550", "--out", str(tmp_path / "a")]) == 0
    episodes = lines(tmp_path / "a")
    assert [line["step"] for line in episodes] == [250, 500]
    assert [line["robot_seconds"] for line in episodes] == [12.5, 25.0]
    for line in episodes:
        assert line["reward_per_step"] == pytest.approx(line["return"] / line["length"])
        assert 5.0 <= line["reward_per_step"] < 6.0
        assert 0 <= line["log_upright"] < 1
    config = json.loads((tmp_path / "a" / "config.json").read_text(encoding="utf-8"))
    assert config["twin"]["start"] == "back"
    # Same twin, same task, to the last option: otherwise there is nothing to compare.
    agent_s = load(["task=a1_walk"])
    assert config["task"] == dataclasses.asdict(agent_s.task.params)  # type: ignore[call-overload]
    assert config["twin"] == dataclasses.asdict(agent_s.body.params)  # type: ignore[call-overload]


def test_same_seed_gives_the_same_curve(tmp_path: Path) -> None:
    for name in ("a", "b"):
        main(["--agent", "random", "--steps", "250", "--seed", "4", "--out", str(tmp_path / name)])
    assert lines(tmp_path / "a")[0]["return"] == lines(tmp_path / "b")[0]["return"]


def test_a_run_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--agent", "random", "--steps", "10", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--agent", "dqn"], ["--agent", "sac", "--steps", "0"]])
def test_bad_arguments_exit_with_two(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", "nowhere"])
    assert end.value.code == 2


@pytest.mark.slow
def test_sac_learns_on_the_robots_terms(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    arguments = ["--agent", "sac", "--steps", "260", "--prefill", "200", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert [line["step"] for line in lines(tmp_path)] == [250]
