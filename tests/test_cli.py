"""The command line: verbs, exit codes, messages. Real processes where the process is the point."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from daydreamer.cli import explain, main
from daydreamer.config import Config, ConfigError, load, save
from daydreamer.verbs import VERBS
from robots.base import RobotError

ROOT = Path(__file__).resolve().parents[1]


def daydreamer(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "daydreamer", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def fake_learner(monkeypatch: pytest.MonkeyPatch) -> list[Config | BaseException]:
    """Stands in for the learner process: records its config, raises the exception put in first."""
    seen: list[Config | BaseException] = []

    def run(config: Config) -> int:
        if seen and isinstance(seen[0], BaseException):
            raise seen[0]
        seen.append(config)
        return 0

    module = ModuleType("daydreamer.learner.main")
    module.__dict__["main"] = run
    monkeypatch.setitem(sys.modules, "daydreamer.learner.main", module)
    return seen


@pytest.mark.parametrize("words", [["--help"], *([verb, "--help"] for verb in VERBS)])
def test_help_is_answered_without_torch_or_hydra(words: list[str]) -> None:
    code = f"""
import sys
from daydreamer.cli import main
assert main({words!r}) == 0
heavy = {{"torch", "hydra", "omegaconf", "numpy", "pybullet", "cv2"}} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("usage: daydreamer")


def test_help_names_every_key_with_its_default_and_meaning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["learner", "--help"]) == 0
    text = capsys.readouterr().out
    assert "learner.batch=32" in text
    assert "B, sequences in an update" in text
    assert "run=runs/<task>" in text


def test_help_names_every_option_of_plot_and_eval(capsys: pytest.CaptureFixture[str]) -> None:
    from daydreamer.telemetry.evaluate import EvalOptions
    from daydreamer.telemetry.plot import _parser

    assert main(["plot", "--help"]) == 0
    text = capsys.readouterr().out
    for action in _parser()._actions:
        assert all(name in text for name in action.option_strings if name not in ("-h", "--help"))
    assert "[LABEL=]DIR" in text
    assert main(["eval", "--help"]) == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(EvalOptions):
        assert f"  {field.name}=" in text


def test_help_of_the_actor_names_the_safety_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["actor", "--help"]) == 0
    text = capsys.readouterr().out
    for part in (
        "actor.watchdog_s=null",
        "actor.safety.tilt=off",
        "workspace_high_m=[1.0,1.0,1.0]",
    ):
        assert part in text


def test_every_verb_that_is_listed_exists() -> None:
    for verb in VERBS.values():
        assert importlib.util.find_spec(verb.target.partition(":")[0]), verb.usage


def test_no_words_at_all_is_answered_with_the_overview_and_exit_code_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "usage: daydreamer" in capsys.readouterr().out


def test_unknown_verb_is_answered_with_the_nearest_and_exit_code_2() -> None:
    result = daydreamer("dryrn", "task=a1_walk")
    assert result.returncode == 2
    assert "Did you mean dryrun?" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dryrun", "task=a1_wlak"], "Did you mean a1_walk?"),
        (["learner", "task=a1_walk", "learner.bacth=3"], "Did you mean learner.batch?"),
        (["actor", "task=a1_walk", "actor.threads=many"], "expected a whole number, found 'many'"),
        (["actor", "task=a1_walk", "body=hardware"], "it has twin (a1_twin)"),
        (["dryrun"], "no task was chosen. Write task=NAME; there is: a1_walk"),
        (["dryrun", "tsk=a1_walk"], "unknown key tsk. Did you mean task?"),
        (["dryrun", "task=a1_walk", "run=/proc/no"], "Choose another run=DIR."),
        (["actor", "task=a1_walk", "actor.safety.tlt=stop"], "Did you mean actor.safety.tilt?"),
        (["actor", "task=a1_walk", "actor.safety.tilt=halt"], "off or warn or clip or stop"),
        (["actor", "task=a1_walk", "actor.safety.max_age_s=0"], "actor.safety.max_age_s=0.0: "),
        (["actor", "task=a1_walk", "actor.watchdog_s=0"], "or null for ten control periods"),
        (["eval", "run=nowhere"], "nowhere is no run folder: it does not exist."),
        (["replay"], "replay needs an action. Known: verify."),
        (["replay", "verfy", "x"], "Did you mean verify?"),
        (["bench"], "bench what? Known: "),
        (["bench", "twins", "task=a1_walk"], "Did you mean twin?"),
    ],
)
def test_bad_arguments_are_answered_in_one_line_with_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_words_become_the_config_of_the_process(
    fake_learner: list[Config | BaseException], tmp_path: Path
) -> None:
    words = ["learner", "task=a1_walk", f"run={tmp_path}", "bind=tcp://127.0.0.1:6001", "seed=7"]
    assert main(words) == 0
    [config] = fake_learner
    assert isinstance(config, Config)
    assert config.learner.bind == "tcp://127.0.0.1:6001"
    assert config.seed == 7


def test_a_run_goes_on_with_its_settings_and_says_what_changed(
    fake_learner: list[Config | BaseException], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(load(["task=a1_walk", "size=debug", "agent.deter=24", f"run={tmp_path}"]), tmp_path)
    assert main(["learner", f"run={tmp_path}", "learner.batch=3"]) == 0
    [config] = fake_learner
    assert isinstance(config, Config)
    assert (config.agent.deter, config.learner.batch) == (24, 3)
    assert "changed since the run began: learner.batch: 4 -> 3" in caplog.text


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RobotError("the cable is out: plug it in"), 1, "the cable is out: plug it in"),
        (OSError(28, "No space left on device"), 1, "No space left on device"),
        (PermissionError(13, "Permission denied", "a/log.txt"), 1, "a/log.txt: Permission denied"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 1, "daydreamer[learner]"),
        (ConfigError("x=1: expected 2."), 2, "x=1: expected 2."),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_the_world_does_becomes_a_message_and_an_exit_code(
    error: BaseException, code: int, message: str, tmp_path: Path,
    fake_learner: list[Config | BaseException], capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    fake_learner.append(error)
    assert main(["learner", "task=a1_walk", f"run={tmp_path}"]) == code
    assert message in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(
    fake_learner: list[Config | BaseException], tmp_path: Path
) -> None:
    fake_learner.append(ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        main(["learner", "task=a1_walk", f"run={tmp_path}"])
    assert explain(ZeroDivisionError("a defect")) == (None, 1)


def test_verbose_shows_the_traceback_of_an_expected_error(
    fake_learner: list[Config | BaseException], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake_learner.append(RobotError("the cable is out"))
    assert main(["learner", "-v", "task=a1_walk", f"run={tmp_path}"]) == 1
    assert "Traceback" in caplog.text


def test_tasks_lists_tasks_bodies_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    text = capsys.readouterr().out
    for part in ("task=a1_walk", "body=twin  (a1_twin)", "size=debug", "size=small", "size=paper"):
        assert part in text


def test_it_runs_from_any_folder_and_leaves_nothing_behind(tmp_path: Path) -> None:
    result = daydreamer("tasks", cwd=tmp_path)
    assert result.returncode == 0
    assert "task=a1_walk" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m daydreamer tasks | true"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
