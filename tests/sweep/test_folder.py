"""What a sweep's folder remembers, and which words may change when it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from daydreamer.config import ConfigError
from daydreamer.sweep import main as command
from daydreamer.sweep.folder import RECORD, STATE, merge, runs_done, save_record, save_state

WORDS = {"seeds": "0,1", "task": "a1_walk", "steps": "100", "agent.discount": "0.9,0.99"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_record(tmp_path, WORDS)
    return tmp_path


def test_a_new_sweep_has_three_seeds_unless_told_otherwise(tmp_path: Path) -> None:
    assert merge(tmp_path, {"task": "a1_walk"}) == ({"seeds": "0,1,2", "task": "a1_walk"}, [])
    assert merge(tmp_path, {"seeds": "5"})[0] == {"seeds": "5"}


def test_the_record_has_words_versions_and_commit(folder: Path) -> None:
    record = yaml.safe_load((folder / RECORD).read_text())
    assert record["words"] == WORDS
    assert {"python", "torch", "git_commit"} <= record["versions"].keys()


def test_the_same_words_or_none_go_on_with_the_sweep(folder: Path) -> None:
    assert merge(folder, WORDS) == (WORDS, [])
    assert merge(folder, {}) == (WORDS, [])


def test_seeds_values_and_steps_may_be_added_and_are_reported(folder: Path) -> None:
    words, changes = merge(
        folder, {"seeds": "0..3", "agent.discount": "0.9,0.99,0.8", "steps": "200"}
    )
    assert words == {**WORDS, "seeds": "0..3", "agent.discount": "0.9,0.99,0.8", "steps": "200"}
    assert changes == [
        "agent.discount: 0.9,0.99 -> 0.9,0.99,0.8",
        "seeds: 0,1 -> 0..3",
        "steps: 100 -> 200",
    ]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("seeds", "1,2"),
        ("agent.discount", "0.9"),
        ("agent.discount", "0.9,0.8"),
        ("agent.horizon", "7"),
        ("task", "a1_stand"),
        ("steps", "100,200"),
        ("learner.threads", "1,2"),
    ],
)
def test_words_that_would_mix_different_runs_are_refused(folder: Path, key: str, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"begun with other words: {key}: .* -> {text}"):
        merge(folder, {key: text})


def test_what_names_the_folders_stays_varied(tmp_path: Path) -> None:
    words = {**WORDS, "steps": "100,200"}
    save_record(tmp_path, words)
    with pytest.raises(ConfigError, match="steps: 100,200 -> 200"):
        merge(tmp_path, {"steps": "200"})
    assert merge(tmp_path, {"steps": "100,200,300"})[1] == ["steps: 100,200 -> 100,200,300"]


def test_another_version_is_reported_and_the_first_one_kept(folder: Path) -> None:
    record = yaml.safe_load((folder / RECORD).read_text())
    record["versions"]["git_commit"] = "0123"
    (folder / RECORD).write_text(yaml.safe_dump(record))
    _, (change,) = merge(folder, {})
    assert change.startswith("git_commit: 0123 -> ")
    save_record(folder, WORDS)
    assert yaml.safe_load((folder / RECORD).read_text())["versions"]["git_commit"] == "0123"


def test_what_another_sweep_has_recorded_meanwhile_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sweep"
    theirs = {"seeds": "0", "task": "a1_walk", "agent.horizon": "7"}

    @contextlib.contextmanager
    def waits_for_the_other(*args: Any, **options: Any) -> Iterator[None]:
        folder.mkdir()
        save_record(folder, theirs)
        yield

    monkeypatch.setattr(command, "claim", waits_for_the_other)
    with pytest.raises(ConfigError, match=r"begun with other words: agent\.horizon: 7 -> 9"):
        command.main([f"run={folder}", "task=a1_walk", "seeds=0", "agent.horizon=9"])
    assert yaml.safe_load((folder / RECORD).read_text())["words"] == theirs


@pytest.mark.parametrize("text", ["{", "words: 3", "", "words: {steps: 100}"])
def test_a_damaged_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(ConfigError, match="is damaged"):
        merge(tmp_path, {})


def test_the_state_tells_which_runs_are_done(tmp_path: Path) -> None:
    assert runs_done(tmp_path) == set()
    runs = [
        {"label": "a", "seed": 0, "state": "done"},
        {"label": "a", "seed": 1, "state": "failed"},
    ]
    save_state(tmp_path, runs)
    assert runs_done(tmp_path) == {("a", 0)}
    (tmp_path / STATE).write_text("{")
    assert runs_done(tmp_path) == set()
