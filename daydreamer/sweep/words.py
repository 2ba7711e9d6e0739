"""What a sweep is asked for: `agent.discount=0.98,0.995 seeds=0..2` becomes six runs."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daydreamer.config.errors import ConfigError
from daydreamer.config.loading import load
from daydreamer.config.overrides import split

SEEDS = "0,1,2"  # unless told otherwise
MAX_LABEL = 100  # letters of a folder's name
_OPENING, _CLOSING, _QUOTES = "[{(", "]})", "'\""


@dataclass(frozen=True)
class Asked:
    """A command line, sorted. words: key -> text as written, seeds among them."""

    folder: Path
    jobs: int | None  # runs at a time; None: as many as there are cores
    words: Mapping[str, str]


@dataclass(frozen=True)
class Variant:
    """One combination of the values that vary."""

    label: str  # names its folder and its curve
    words: tuple[str, ...]  # of its dry runs, without run= and seed=


def read_words(words: Sequence[str]) -> Asked:
    """Sort the words after `daydreamer sweep`. Raises ConfigError."""
    given = split(words)
    found = {**given.groups, **given.values}
    if "seed" in found:
        raise ConfigError(
            f"seed={found['seed']}: a sweep has several. Write seeds={found['seed']}, "
            f"a list (seeds={SEEDS}) or a range (seeds=0..4)."
        )
    folder = found.pop("run", "")
    if not folder:
        raise ConfigError("run=FOLDER is missing: it holds the runs. Write e.g. run=runs/discount.")
    if len(folder) > 1 and folder[0] == folder[-1] and folder[0] in _QUOTES:
        folder = folder[1:-1]  # as elsewhere: run="my sweep"
    jobs = found.pop("jobs", None)
    if jobs is not None and not (jobs.isdecimal() and int(jobs) > 0):
        raise ConfigError(f"jobs={jobs}: expected how many runs at a time, at least 1.")
    return Asked(Path(folder).expanduser(), None if jobs is None else int(jobs), found)


def seeds_of(text: str) -> tuple[int, ...]:
    """'0,1,2' or '0..2' -> (0, 1, 2); '3' is seed 3 alone. Raises ConfigError."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first:
            raise ConfigError(
                f"seeds={text}: expected a list such as 0,1,2 or a range such as 0..4 (0 to 4)."
            )
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"seeds={text}: name each seed once.")
    return tuple(seeds)


def values_of(key: str, text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes. Raises ConfigError."""
    values, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        else:
            depth += (letter in _OPENING) - (letter in _CLOSING)
        if letter == "," and depth == 0 and not quote:
            values.append("")
        else:
            values[-1] += letter
    if len(values) > 1 and "" in values:
        raise ConfigError(f"{key}={text}: a value is missing beside a comma.")
    if twice := [value for value, count in Counter(values).items() if count > 1]:
        raise ConfigError(f"{key}={text}: {twice[0]} is there twice.")
    return values


def varied_keys(words: Mapping[str, str]) -> dict[str, list[str]]:
    """The keys with several values, and these. Raises ConfigError."""
    every = {key: values_of(key, text) for key, text in words.items() if key != "seeds"}
    return {key: values for key, values in every.items() if len(values) > 1}


def variants(words: Mapping[str, str]) -> list[Variant]:
    """Every combination of values, in the order written. Raises ConfigError."""
    varied = varied_keys(words)
    fixed = [f"{k}={v}" for k, v in words.items() if k != "seeds" and k not in varied]
    if not varied:
        return [Variant(_folder_name(load(fixed).task.label), tuple(fixed))]
    names = _short_names(list(varied))
    found: dict[str, Variant] = {}
    for combination in itertools.product(*varied.values()):
        text = ",".join(f"{name}={value}" for name, value in zip(names, combination, strict=True))
        chosen = [f"{k}={v}" for k, v in zip(varied, combination, strict=True)]
        label = _folder_name(text)
        if label in found:  # another name for either would move a run that may be there already
            raise ConfigError(
                f"{' '.join(chosen)} would have the folder {label}, which is that of "
                f"{' '.join(found[label].words[len(fixed) :])}. Choose values that differ in "
                "letters, digits or . _ = , + -, or make two sweeps."
            )
        found[label] = Variant(label, (*fixed, *chosen))
    return list(found.values())


def _short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each dotted key, or the whole key where that would be ambiguous."""
    last = Counter(key.rpartition(".")[2] for key in keys)
    return [key if last[key.rpartition(".")[2]] > 1 else key.rpartition(".")[2] for key in keys]


def _folder_name(text: str) -> str:
    clean = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", text).strip("_.") or "runs"
    return clean if len(clean) <= MAX_LABEL else f"{clean[: MAX_LABEL - 7]}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
