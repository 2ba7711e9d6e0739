"""What a sweep's command line stands for, and what it refuses before anything is started."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from daydreamer.cli import main
from daydreamer.config import ConfigError, load, save
from daydreamer.sweep.main import check
from daydreamer.sweep.words import MAX_LABEL, read_words, seeds_of, values_of, variants


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0,1,2", (0, 1, 2)), ("3", (3,)), ("0..2", (0, 1, 2)), ("5..5", (5,)), ("7,0..1", (7, 0, 1))],
)
def test_seeds_are_a_list_or_a_range_with_both_ends(text: str, seeds: tuple[int, ...]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "0,", "3..1", "0..", "-1", "0.5", "0,1,0", "0..2,1"])
def test_other_seeds_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 0\.\.4|name each seed once"):
        seeds_of(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.98", ["0.98"]),
        ("0.98,0.995", ["0.98", "0.995"]),
        ("[1,2]", ["[1,2]"]),
        ("[1,2],[3,[4,5]],6", ["[1,2]", "[3,[4,5]]", "6"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("", [""]),
    ],
)
def test_commas_in_brackets_and_quotes_belong_to_the_value(text: str, values: list[str]) -> None:
    assert values_of("agent.x", text) == values


def test_every_combination_has_its_words_and_a_label() -> None:
    found = variants(
        {"task": "a1_walk", "seeds": "0", "agent.discount": "0.9,0.99", "mode": "async,lockstep"}
    )
    assert [variant.label for variant in found] == [
        "discount=0.9,mode=async",
        "discount=0.9,mode=lockstep",
        "discount=0.99,mode=async",
        "discount=0.99,mode=lockstep",
    ]
    assert found[1].words == ("task=a1_walk", "agent.discount=0.9", "mode=lockstep")


def test_without_variation_the_task_is_the_label() -> None:
    (only,) = variants({"task": "a1_walk", "seeds": "0,1", "steps": "100"})
    assert only.label == "a1_walk"
    assert only.words == ("task=a1_walk", "steps=100")


def test_tasks_of_one_kind_have_labels_of_their_own() -> None:
    (only,) = variants({"task": "dmc", "task.name": "walker_walk", "seeds": "0"})
    assert only.label == "dmc_walker_walk"


def test_keys_that_end_alike_are_written_out() -> None:
    labels = [v.label for v in variants({"actor.threads": "1,2", "learner.threads": "1,2"})]
    assert labels[0] == "actor.threads=1,learner.threads=1"


def test_labels_are_legal_folder_names() -> None:
    found = variants({"task": "t", "agent.x": "[1 2],../..,héé"})
    labels = [variant.label for variant in found]
    assert len(set(labels)) == 3
    assert all(label.startswith("x=") and "/" not in label and label.isascii() for label in labels)
    (long, _) = variants({"task": "t", "agent.x": f"{'y' * 300},z"})
    assert len(long.label) == MAX_LABEL


def test_values_that_would_share_a_folder_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"x=\[1/2\] would have .* is that of agent\.x=\[1 2\]"):
        variants({"task": "t", "agent.x": "[1 2],[1/2]"})


def test_run_and_jobs_are_the_sweeps_own() -> None:
    asked = read_words(["run=runs/a=b", "jobs=3", "task=a1_walk", "id=left", "steps=10"])
    assert (asked.folder, asked.jobs) == (Path("runs/a=b"), 3)
    assert asked.words == {"task": "a1_walk", "actor.id": "left", "steps": "10"}


@pytest.mark.parametrize("word", ["run='my sweep'", 'run="my sweep"', "run=my sweep"])
def test_a_folder_may_be_quoted_as_for_other_commands(word: str) -> None:
    assert read_words([word, "task=a1_walk"]).folder == Path("my sweep")


@pytest.mark.parametrize("bind", ["tcp://127.0.0.1:6000", "ipc:///run/learner"])
def test_one_address_serves_one_run_at_a_time(bind: str, tmp_path: Path) -> None:
    words = ["task=a1_walk", f"run={tmp_path}"]
    fixed = load([*words, f"learner.bind={bind}"])
    check(fixed, jobs=1)
    with pytest.raises(ConfigError, match=f"learner.bind={bind} is one address.*jobs=1"):
        check(fixed, jobs=2)
    check(load([*words, "learner.bind=tcp://127.0.0.1:*"]), jobs=2)
    check(load(words), jobs=2)  # a dry run then takes a free one


def test_a_run_is_no_folder_for_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(load(["task=a1_walk", f"run={tmp_path}"]), tmp_path)
    assert main(["sweep", f"run={tmp_path}", "task=a1_walk"]) == 2
    assert "is a run by itself" in capsys.readouterr().err


def test_one_robot_does_one_run_at_a_time(tmp_path: Path) -> None:
    config = load(["task=a1_walk", f"run={tmp_path}"])
    task = dataclasses.replace(config.task, bodies={"hardware": config.body.option})
    on_hardware = dataclasses.replace(config, task=task)
    check(config, jobs=2)
    check(on_hardware, jobs=1)
    with pytest.raises(ConfigError, match="jobs=1"):
        check(on_hardware, jobs=2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=a1_walk"], "run=FOLDER is missing"),
        (["run=s", "task=a1_walk", "seed=1"], "Write seeds=1"),
        (["run=s", "task=a1_walk", "jobs=0"], "at least 1"),
        (["run=s", "task=a1_walk", "jobs=two"], "at least 1"),
        (["run=s", "task=a1_walk", "seeds=0-4"], "a range such as 0..4"),
        (["run=s", "task=a1_walk", "agent.discount=0.9,"], "missing beside a comma"),
        (["run=s", "task=a1_walk", "agent.discount=0.9,0.9"], "0.9 is there twice"),
        (["run=s", "task=a1_walk", "agent.discont=0.9,0.99"], "Did you mean agent.discount?"),
        (["run=s", "task=a1_walk", "agent.discount=0.9,many"], "agent.discount"),
        (["run=s", "task=a1_walk,a1_wlak"], "Did you mean a1_walk?"),
        (["run=s", "task=a1_walk", "steps=0"], "steps=0 has no end"),
        (["run=s"], "no task was chosen"),
        (["run=s", "task"], "is not key=value"),
    ],
)
def test_bad_words_are_refused_before_anything_is_made(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
