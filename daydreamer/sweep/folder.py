"""FOLDER/sweep.yaml: what was asked for. FOLDER/sweep.json: how far each run is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daydreamer.config.errors import ConfigError
from daydreamer.config.runs import versions
from daydreamer.sweep.words import SEEDS, seeds_of, varied_keys

RECORD, STATE = "sweep.yaml", "sweep.json"
# Neither changes what a run is, only how far and how fast it gets there. (Where one varies, it
# names the runs' folders, and is like any other key.)
FREE = ("steps", "learner.threads")
_REPORTED = ("daydreamer", "torch", "numpy", "git_commit")  # versions that runs may differ by


def merge(folder: Path, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The sweep's words, those recorded in `folder` included, and what is new in them.

    Seeds and values may be added, and FREE words changed. Raises ConfigError for the rest: runs
    with one label must have been asked for in the same words.
    """
    record = _read(folder / RECORD)
    if record is None:
        return {"seeds": SEEDS, **given}, []
    before: dict[str, str] = record["words"]
    words = {**before, **given}
    changes: list[str] = []
    refused: list[str] = []
    for key in sorted(words):
        if words[key] == before.get(key):
            continue
        change = f"{key}: {before.get(key, '(not there)')} -> {words[key]}"
        varies = key in varied_keys(before) or key in varied_keys(words)
        allowed = _only_adds(key, before, words) or (key in FREE and not varies)
        (changes if allowed else refused).append(change)
    if refused:
        raise ConfigError(
            f"run={folder} holds a sweep that was begun with other words: {'; '.join(refused)}. "
            "Seeds and values of what varies can be added; nothing is taken away or changed. Leave "
            f"these words out, or choose another run=FOLDER. Its own are in {folder / RECORD}."
        )
    now = versions()
    then = record.get("versions") or {}
    changes += [
        f"{name}: {then.get(name)} -> {now.get(name)}"
        for name in _REPORTED
        if then.get(name) != now.get(name)
    ]
    return words, changes


def save_record(folder: Path, words: Mapping[str, str]) -> None:
    """Write FOLDER/sweep.yaml. The versions stay those it was begun with; each run has its own."""
    import yaml

    before = _read(folder / RECORD) or {}
    record = {"words": dict(words), "versions": before.get("versions") or versions()}
    _replace(folder / RECORD, yaml.safe_dump(record, sort_keys=False))


def save_state(folder: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Write FOLDER/sweep.json: one object a run."""
    _replace(folder / STATE, json.dumps({"runs": list(runs)}, indent=2) + "\n")


def runs_done(folder: Path) -> set[tuple[str, int]]:
    """(label, seed) of the runs that have ended well before."""
    try:
        runs = json.loads((folder / STATE).read_text(encoding="utf-8"))["runs"]
        return {(run["label"], run["seed"]) for run in runs if run["state"] == "done"}
    except FileNotFoundError:
        return set()
    except (ValueError, KeyError, TypeError):  # then each is started, and finds out by itself
        return set()


def _only_adds(key: str, before: Mapping[str, str], words: Mapping[str, str]) -> bool:
    if key == "seeds":
        return set(seeds_of(before[key])) <= set(seeds_of(words[key]))
    old, new = varied_keys(before), varied_keys(words)
    return key in old and key in new and set(old[key]) <= set(new[key])


def _read(path: Path) -> dict[str, Any] | None:
    import yaml

    if not path.is_file():
        return None
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        if all(isinstance(text, str) for text in record["words"].values()):
            return dict(record)
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({error}). Mend it, or take a new folder.") from error
    raise ConfigError(f"{path} is damaged: a word is no text. Mend it, or take a new folder.")


def _replace(path: Path, text: str) -> None:
    """All of it or nothing: whoever is killed here leaves the old file."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
