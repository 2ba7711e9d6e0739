"""The baseline script: what it writes, and what it refuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest

from daydreamer.config import load
from sim.baselines.command import main

needs_pybullet = pytest.mark.skipif(
    importlib.util.find_spec("pybullet") is None,
    reason="the A1's twin needs PyBullet, whose wheels end at Python 3.11",
)

A1 = ["--task", "a1_walk"]
RANDOM = ["--agent", "random", "--steps", "500"]


def lines(folder: Path) -> list[dict[str, float]]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@needs_pybullet
def test_random_policy_writes_a_line_per_episode(tmp_path: Path) -> None:
    assert main([*A1, "--agent", "random", "--steps", "550", "--out", str(tmp_path / "a")]) == 0
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


@needs_pybullet
def test_same_seed_gives_the_same_curve(tmp_path: Path) -> None:
    for name in ("a", "b"):
        main(
            [
                *A1,
                "--agent",
                "random",
                "--steps",
                "250",
                "--seed",
                "4",
                "--out",
                str(tmp_path / name),
            ]
        )
    assert lines(tmp_path / "a")[0]["return"] == lines(tmp_path / "b")[0]["return"]


@needs_pybullet
def test_a_run_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*A1, "--agent", "random", "--steps", "10", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert main(arguments) == 1
    assert "already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*A1, "--agent", "dqn"], "invalid choice: 'dqn'"),
        ([*A1, "--agent", "sac", "--steps", "0"], "a whole number, at least 1 expected"),
        ([*A1, *RANDOM, "--seed", "-1"], "-1: a whole number, at least 0 expected"),
        ([*A1, *RANDOM, "--seed", "one"], "one: a whole number, at least 0 expected"),
        ([*A1, *RANDOM, "--name", "walker_walk"], "--name belongs to --task dmc"),
        ([*A1, *RANDOM, "--repeat", "2"], "--repeat belongs to --task dmc or gym"),
        (["--task", "dmc", *RANDOM, "--start", "back"], "--start belongs to --task a1_walk"),
    ],
)
def test_bad_arguments_exit_with_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", "nowhere"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_random_policy_plays_other_tasks_and_counts_control_steps(tmp_path: Path) -> None:
    pytest.importorskip("dm_control", reason="needs dm_control: pip install 'daydreamer[dmc]'")
    words = ["--task", "dmc", "--name", "reacher_easy", *RANDOM, "--out", str(tmp_path)]
    assert main(words) == 0
    # 1000 environment steps of 0.02 s, two of them in a control step.
    assert [(line["step"], line["robot_seconds"]) for line in lines(tmp_path)] == [(500, 20.0)]
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["task"]["name"] == "reacher_easy"


def test_a_task_that_is_not_there_is_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, message in (("Pendulun-v1", "Did you mean: `Pendulum`"), ("", "id is empty")):
        words = ["--task", "gym", "--id", name, *RANDOM, "--out", str(tmp_path / "a")]
        assert main(words) == 1
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_sac_on_a_choice_among_several_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "gym", "--id", "CartPole-v1", "--agent", "sac", "--steps", "9"]
    assert main([*words, "--out", str(tmp_path / "a")]) == 1
    assert "this task takes one of 2 actions: choose --agent random" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@needs_pybullet
@pytest.mark.slow
def test_sac_learns_on_the_robots_terms(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    arguments = [
        *A1,
        "--agent",
        "sac",
        "--steps",
        "260",
        "--prefill",
        "200",
        "--out",
        str(tmp_path),
    ]
    assert main(arguments) == 0
    assert [line["step"] for line in lines(tmp_path)] == [250]


@pytest.mark.slow
def test_sac_runs_on_the_control_suite(tmp_path: Path) -> None:
    pytest.importorskip("stable_baselines3")
    pytest.importorskip("dm_control", reason="needs dm_control: pip install 'daydreamer[dmc]'")
    words = ["--task", "dmc", "--agent", "sac", "--steps", "510", "--prefill", "450"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    (episode,) = lines(tmp_path)
    assert (episode["length"], episode["robot_seconds"]) == (500, 10.0)
    assert 0 <= episode["return"] <= 1000
