"""`daydreamer eval` on the real twin, with a real checkpoint of an untrained policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daydreamer.config import Config, ConfigError, load, save
from daydreamer.telemetry.evaluate import eval_main, parse
from robots.base import RobotError

FAST = ["task.episode_steps=12"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with a config and one checkpoint of an untrained policy."""
    import torch

    from daydreamer.learner.checkpoint import Checkpoints
    from daydreamer.models.policy import build_policy

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("run")
    config: Config = load(["task=a1_walk", "size=debug", f"run={folder}"])
    save(config, folder)
    task = config.task.build()
    policy = build_policy(config.agent, task.observations, task.action)
    Checkpoints(folder / "learner" / "checkpoints", keep=2).save(7, {}, policy.arrays())
    return folder


def results(run: Path) -> dict:
    found = json.loads((run / "eval" / "7" / "results.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_eval_says_what_it_does_and_writes_results_video_and_contact_sheet(
    run: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import cv2

    caplog.set_level("INFO")
    assert eval_main([f"run={run}", "episodes=2", *FAST]) == 0
    said = [record.getMessage() for record in caplog.records if "evaluate" in record.name]
    assert said[0] == f"reading the newest policy of {run}"
    assert said[1] == "policy version 7 on a1_twin, 2 episode(s): a line as each one ends"
    found = results(run)
    assert (found["policy_version"], found["task"], found["mode"]) == (7, "a1_walk", "mode")
    assert [one["length"] for one in found["episodes"]] == [12, 12]
    one = found["episodes"][0]
    assert one["total"] == pytest.approx(12 * one["reward_per_step"])
    assert "forward_speed_m_s" in found["mean"]["log"]
    video = cv2.VideoCapture(str(run / "eval" / "7" / "video.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 24
    assert video.get(cv2.CAP_PROP_FPS) == 20
    video.release()
    sheet = cv2.imread(str(run / "eval" / "7" / "contact_sheet.png"))
    assert sheet.std() > 10, "a picture, not a blank page"
    table = capsys.readouterr().out
    assert "policy version 7" in table
    assert "video.mp4" in table


@pytest.mark.parametrize("mode", ["mode", "sample"])
def test_the_same_seed_gives_the_same_returns(run: Path, mode: str) -> None:
    words = [f"run={run}", "episodes=1", "video=false", f"mode={mode}", *FAST]
    returns = []
    for seed in (3, 3, 4):
        assert eval_main([*words, f"seed={seed}"]) == 0
        returns.append(results(run)["mean"]["total"])
    assert returns[0] == returns[1]
    assert returns[0] != returns[2]


def test_the_start_can_be_chosen(run: Path) -> None:
    words = [f"run={run}", "episodes=1", "video=false", *FAST]
    upright = []
    for start in ("back", "standing"):
        assert eval_main([*words, f"body.start={start}"]) == 0
        upright.append(results(run)["mean"]["log"]["upright"])
    assert upright[1] > upright[0] + 0.3


def test_the_run_s_safety_rules_hold(run: Path) -> None:
    rules = ["actor.safety.joint_torque=stop", "actor.safety.joint_torque_limit_nm=0.1"]
    with pytest.raises(RobotError, match="joint_torque_nm"):
        eval_main([f"run={run}", "episodes=1", "video=false", *FAST, *rules])


def test_without_a_checkpoint_eval_says_what_to_wait_for(tmp_path: Path) -> None:
    save(load(["task=a1_walk", "size=debug", f"run={tmp_path}"]), tmp_path)
    from daydreamer.learner.checkpoint import CheckpointError

    with pytest.raises(CheckpointError, match=r"no checkpoint in .*has training begun"):
        eval_main([f"run={tmp_path}"])
    assert not (tmp_path / "eval").exists()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no run folder"):
        eval_main([f"run={tmp_path}"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "run=DIR"),
        (["run=x", "episode=3"], "Did you mean episodes"),
        (["run=x", "episodes=0"], "episodes=0"),
        (["run=x", "episodes=two"], "episodes=two"),
        (["run=x", "mode=async"], "mode=async: expected mode"),
        (["run=x", "video=maybe"], "true or false"),
        (["x"], "does not know 'x'"),
    ],
)
def test_bad_words_are_answered(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(words)


def test_other_words_are_left_to_the_run_s_config() -> None:
    options, rest = parse(["run=x", "body=twin", "body.start=standing", "episodes=4", "seed=2"])
    assert (options.run, options.episodes) == (Path("x"), 4)
    assert rest == ["body=twin", "body.start=standing", "seed=2"]


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """A run on an environment, with a checkpoint of an untrained policy."""
    import torch

    from daydreamer.learner.checkpoint import Checkpoints
    from daydreamer.models.policy import build_policy

    torch.set_num_threads(1)
    pytest.importorskip("ale_py", reason="needs ale-py: pip install 'daydreamer[atari]'")
    config = load(["task=atari", "size=debug", f"run={tmp_path}"])
    save(config, tmp_path)
    task = config.task.build()
    policy = build_policy(config.agent, task.observations, task.action)
    Checkpoints(tmp_path / "learner" / "checkpoints", keep=2).save(7, {}, policy.arrays())
    return tmp_path


def test_an_environment_is_filmed_and_its_last_figures_are_told(
    game: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    assert eval_main([f"run={game}", "episodes=2", "task.episode_steps=15"]) == 0
    found = results(game)
    assert found["task"] == "atari_boxing"
    assert [one["length"] for one in found["episodes"]] == [15, 15]
    assert set(found["mean"]["final_log"]) == {"points", "score"}
    assert "at the end: points" in capsys.readouterr().out
    video = cv2.VideoCapture(str(game / "eval" / "7" / "video.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    video.release()


def test_an_environment_that_cannot_be_drawn_is_evaluated_without_a_film(
    game: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise RobotError("there is no screen")

    monkeypatch.setattr("sim.envs.atari.AtariWorld.render", refuse)
    assert eval_main([f"run={game}", "episodes=1", "task.episode_steps=5"]) == 0
    assert "no film: there is no screen" in caplog.text
    assert not (game / "eval" / "7" / "video.mp4").exists()
    assert results(game)["episodes"][0]["length"] == 5
