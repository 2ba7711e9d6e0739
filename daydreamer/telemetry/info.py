"""`daydreamer info DIR [--json]`: what a run has done so far, from its archive and its metrics.

Reads only (beside writing RUN/summary.json), so it works while actor and learner are running.

    control_steps   stored in the archive: what the run has to show, and what it ends by
    steps_driven    driven by the robots, as far as anyone knows

The second is ahead by what is still on its way, and by what killed actors had not journalled yet.
Late steps and robot time are of all the steps driven.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daydreamer.telemetry.metrics import Line, MetricsError, number, read_metrics, total

if TYPE_CHECKING:
    from daydreamer.telemetry.stored import Stored

log = logging.getLogger(__name__)

EPISODES = 100  # returns listed
FRESH_S = 60.0  # a learner that wrote nothing for longer may have stopped: it does nothing "now"
Info = dict[str, Any]


class NoRunError(ValueError):
    """A folder is not a run's. Says what was looked for."""


def collect(run_dir: Path) -> Info:
    """Everything `info` shows. Raises NoRunError, MetricsError or replay's ArchiveError."""
    from daydreamer.telemetry.stored import read_archive

    run = Path(run_dir)
    check_run(run)
    actors = {
        path.parent.name.removeprefix("actor-"): read_metrics(path)
        for path in sorted(run.glob("actor-*/metrics.jsonl"))
    }
    learner = run / "learner" / "metrics.jsonl"
    stored = read_archive(run / "learner" / "replay")
    return {
        "run": str(run),
        **_progress(actors, stored),
        **_learner(read_metrics(learner) if learner.exists() else []),
        **_archive(stored),
        "actors": {name: _actor(run / f"actor-{name}", lines) for name, lines in actors.items()},
    }


def check_run(run: Path) -> None:
    """Raise NoRunError, with what is there instead, unless `run` is a run's folder."""
    if _is_run(run):
        return
    if not run.is_dir():
        found = "is no folder" if run.exists() else "does not exist"
        raise NoRunError(f"{run} {found}; expected the folder given as run=DIR to dryrun")
    inside = [child.name for child in sorted(run.iterdir()) if _is_run(child)]
    hint = f" Runs in it: {', '.join(inside[:8])}." if inside else ""
    raise NoRunError(f"{run} is no run: found no config.yaml, learner/ or actor-*/ in it.{hint}")


def info_main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    from daydreamer.replay.segments import ArchiveError

    args = _parser().parse_args(argv)
    run = Path(args.run)
    try:
        info = collect(run)
    except (NoRunError, MetricsError, ArchiveError, OSError) as error:
        sys.stderr.write(f"daydreamer info: {error}\n")
        return 1
    text = json.dumps(info, indent=2, allow_nan=False) + "\n"
    try:
        partial = run / ".summary.json.part"
        partial.write_text(text, encoding="utf-8")
        partial.replace(run / "summary.json")
    except OSError as error:  # somebody else's run, a full disk: showing it still works
        log.warning("summary.json was not written: %s", error)
    sys.stdout.write(text if args.json else render(info))
    return 0


def render(info: Mapping[str, Any]) -> str:
    """A table for people."""
    returns = [f"{value:.0f}" for value in info["episode_returns"][-8:]]
    rows = [
        ("run", info["run"]),
        ("robot time", f"{info['robot_seconds'] / 60:.1f} min"),
        ("control steps", f"{info['control_steps']:,} stored, {info['steps_driven']:,} driven"),
        ("reward per step", _or_dash(info["reward_per_step"], "{:.2f} over the last 1,000 steps")),
        ("recent returns", " ".join(returns) or "-"),
        ("", ""),
        ("rows stored", f"{info['rows_stored']:,} in {len(info['sessions'])} session(s)"),
        ("gaps", f"{info['gaps']}"),
        ("duplicates", f"{info['duplicates_dropped']} dropped, {info['duplicates_stored']} stored"),
        ("", ""),
        ("updates", f"{info['updates']:,}{_dreamed(info)}"),
        ("policy version", _version(info["policy_version"])),
        (
            "replay ratio",
            _or_dash(info["replay_ratio"], "{:.1f} rows trained on per row collected"),
        ),
        *_health(info["health"]),
        (
            "late steps",
            f"{info['late_steps']:,}{_percent(info['late_steps'], info['steps_driven'])}",
        ),
        ("safety events", f"{info['safety_events']:,}"),
    ]
    for name, actor in info["actors"].items():
        age = (
            f"last heard {actor['age_s']:.0f} s ago"
            if actor["age_s"] is not None
            else "silent so far"
        )
        refused = ", refused by the learner: see its log.txt" if actor["refused"] else ""
        waiting = f"{actor['journal_chunks']} chunk(s) in its journal"
        rows.append((f"actor {name}", f"{age}, {waiting}{refused}"))
    for session, one in info["sessions"].items():
        rows.append(
            (
                f"session {session}",
                f"{one['rows']:,} rows of actor {one['actor']}, {one['gaps']} gaps",
            )
        )
    width = max(len(name) for name, _ in rows) + 2
    return "".join(f"{name:<{width}}{value}".rstrip() + "\n" for name, value in rows)


def _progress(actors: Mapping[str, Sequence[Line]], stored: Stored | None) -> Info:
    """What the robots did: sums over all actors, and the newest episodes of any."""
    every = [line for lines in actors.values() for line in lines]
    episodes = sorted(every, key=lambda line: number(line, "time") or 0.0)
    returns = [number(line, "episode/return") for line in episodes]
    reported = (_newest(lines, "actor/reward_per_step") for lines in actors.values())
    rewards = [reward for reward in reported if reward is not None]
    if stored is not None and stored.reward_per_step is not None:
        rewards = [stored.reward_per_step]
    return {
        "control_steps": 0 if stored is None else sum(stored.steps.values()),
        "steps_driven": int(
            _sum_sessions(actors, "actor/control_steps", None if stored is None else stored.steps)
        ),
        "robot_seconds": _sum_sessions(
            actors, "actor/robot_seconds", None if stored is None else stored.robot_s
        ),
        "late_steps": int(_sum_sessions(actors, "actor/late_steps")),
        "safety_events": int(_sum_sessions(actors, "actor/safety_events")),
        "episode_returns": [value for value in returns if value is not None][-EPISODES:],
        "reward_per_step": sum(rewards) / len(rewards) if rewards else None,
    }


def _sum_sessions(
    actors: Mapping[str, Sequence[Line]], key: str, stored: Mapping[str, float] | None = None
) -> float:
    """A counter's sum over sessions, each as the actor or the archive last knew it.

    A killed actor's metrics end a moment early, while the archive lacks what a journal still holds.
    """
    reached: dict[str, float] = dict(stored or {})
    untagged = 0.0
    for lines in actors.values():
        untagged += total([line for line in lines if "session" not in line], key)
        for line in lines:
            if "session" in line and (value := number(line, key)) is not None:
                reached[line["session"]] = max(value, reached.get(line["session"], 0.0))
    return untagged + sum(reached.values())


def _archive(stored: Stored | None) -> Info:
    found = None if stored is None else stored.summary
    return {
        "rows_stored": 0 if found is None else found.rows,
        "gaps": 0 if found is None else found.gaps,
        "duplicates_dropped": 0 if found is None else found.duplicates_dropped,
        "duplicates_stored": 0 if found is None else found.duplicates_stored,
        "bytes_stored": 0 if found is None else found.bytes,
        "sessions": {
            name: {"actor": one.actor, "rows": one.rows, "chunks": one.chunks, "gaps": one.gaps}
            for name, one in (found.sessions.items() if found is not None else ())
        },
    }


def _actor(folder: Path, lines: Sequence[Line]) -> Info:
    age_s = _age_s(lines)
    return {
        "steps_driven": int(total(lines, "actor/control_steps")),
        "steps_per_s": _newest(lines, "actor/steps_per_s"),
        "policy_version": _whole(_newest(lines, "actor/policy_version")),
        "policy_age_s": _newest(lines, "actor/policy_age_s"),
        "journal_chunks": sum(1 for _ in folder.glob("journal/*/*.chunk")),
        "age_s": None if math.isinf(age_s) else age_s,
        "refused": bool(_newest(lines, "actor/refused")),
    }


def _learner(lines: Sequence[Line]) -> Info:
    return {
        "updates": _whole(_newest(lines, "learner/updates")) or 0,
        "policy_version": _whole(_newest(lines, "learner/version")),
        "replay_ratio": _newest(lines, "learner/replay_ratio"),
        "updates_per_s": _newest(lines, "learner/updates_per_s"),
        "dreaming": _age_s(lines) < FRESH_S and bool(_newest(lines, "learner/dreaming")),
        "dreamed_updates": _whole(_newest(lines, "learner/dreamed_updates")) or 0,
        "health": _newest_health(lines),
    }


def _newest_health(lines: Sequence[Line]) -> dict[str, float]:
    """Figures of the newest report, without their prefix; none before the first."""
    found = (
        {
            key.removeprefix("health/"): value
            for key in line
            if key.startswith("health/") and (value := number(line, key)) is not None
        }
        for line in reversed(lines)
    )
    return next((figures for figures in found if figures), {})


def _age_s(lines: Sequence[Line]) -> float:
    """Since the last line was written; infinite where there is none."""
    when = number(lines[-1], "time") if lines else None
    return math.inf if when is None else max(0.0, time.time() - when)


def _newest(lines: Sequence[Line], key: str) -> float | None:
    values = (number(line, key) for line in reversed(lines))
    return next((value for value in values if value is not None), None)


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _is_run(folder: Path) -> bool:
    return (
        (folder / "config.yaml").is_file()
        or (folder / "learner").is_dir()
        or any(folder.glob("actor-*/metrics.jsonl"))
    )


def _version(version: int | None) -> str:
    return "none yet" if version in (None, -1) else f"{version:,}"


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _dreamed(info: Mapping[str, Any]) -> str:
    if not info["dreamed_updates"]:
        return ""
    now = ", dreaming now" if info["dreaming"] else ""
    return f", {info['dreamed_updates']:,} of them dreamed without a robot{now}"


def _health(health: Mapping[str, float]) -> list[tuple[str, str]]:
    """Prediction error at 15 steps and how well returns are foreseen, as far as measured."""
    rows = []
    errors = {
        name.removeprefix("open_loop/").removesuffix("_15"): value
        for name, value in health.items()
        if name.endswith("_15") and not name.endswith("reward_abs_15")
    }
    if errors:
        text = ", ".join(f"{key} {value:.2f}" for key, value in errors.items())
        rows.append(("prediction error", f"{text} after 15 steps (1: knows nothing)"))
    if "return_gap" in health:
        imagined, real = health["imagined_return"], health["real_return"]
        rows.append(("imagined return", f"{imagined:.1f} where {real:.1f} followed"))
    return rows


def _percent(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.2f} %)" if whole else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="daydreamer info",
        description="What a run has done so far; also writes RUN/summary.json.",
    )
    parser.add_argument("run", metavar="DIR", help="the run's folder")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    return parser
