"""Learning curves as numbers: read from runs or baselines, smoothed, averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from daydreamer.telemetry.metrics import Line, number, read_metrics, running_totals

Floats = NDArray[np.float64]
# In the metrics of a run, else in a baseline's.
Y_KEYS = {
    "reward": ("episode/reward_per_step", "reward_per_step"),
    "return": ("episode/return", "return"),
}
FINAL_KEYS = ("episode/final_", "final_")  # and a figure that the task logs
X_KEYS = {
    "minutes": ("actor/robot_seconds", "robot_seconds"),
    "steps": ("actor/control_steps", "step"),
}


class NoCurveError(ValueError):
    """There is nothing to plot at a path. Says what was looked for."""


@dataclass(frozen=True)
class View:
    """What is drawn over what."""

    x: Literal["minutes", "steps"] = "minutes"  # robot time, or control steps times the repeat
    y: str = "reward"  # a step's, "return" (an episode's sum), or what the task logs: its last
    repeat: int | None = None  # environment steps in a control step; None: the run's config knows

    @property
    def y_keys(self) -> tuple[str, ...]:
        """Where y is found: in the metrics of a run, else in a baseline's."""
        return Y_KEYS.get(self.y) or tuple(f"{start}{self.y}" for start in FINAL_KEYS)


@dataclass(frozen=True)
class Curve:
    """One run: a point per episode, in order of x."""

    label: str
    name: str
    x: Floats  # (N,) at the episode's end, summed over sessions and the run's actors
    y: Floats  # (N,)
    smoothed: Floats  # (N,) mean over the window that ends at the point
    repeat: int = 1  # environment steps in a control step, as x counts them


@dataclass(frozen=True)
class Band:
    """Several runs of one label on a common grid."""

    label: str
    runs: int
    x: Floats  # (G,)
    mean: Floats  # (G,) of the smoothed curves
    low: Floats
    high: Floats


def read_points(path: Path, view: View) -> tuple[Floats, Floats, int]:
    """A run folder's or a baseline file's x (N,), ascending, y (N,), and the repeat x counts with.

    Raises NoCurveError where no episode has ended yet.
    """
    files = metrics_files(path)
    logs = [read_metrics(file) for file in files]
    points = sorted(_points(logs, view))
    if not points:
        known = {key.partition("final_")[2] for lines in logs for line in lines for key in line
                 if key.startswith(FINAL_KEYS)}  # fmt: skip
        raise NoCurveError(
            f"{path}: no finished episode in {len(files)} metrics file(s); "
            f"expected lines with {view.y_keys[0]} and {X_KEYS[view.x][0]} "
            f"(a baseline's: {view.y_keys[1]} and {X_KEYS[view.x][1]}). "
            "Wait until the first episode ends, or name another folder."
            + (f" --y can be {', '.join([*Y_KEYS, *sorted(known)])}." if known else "")
        )
    x, y = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    if view.x == "minutes":
        return x / 60, y, 1
    repeat = view.repeat or _repeat_of(path)
    return x * repeat, y, repeat


def metrics_files(path: Path) -> list[Path]:
    """The files with a run's episodes: a file itself, its actors', or a baseline's *.jsonl."""
    if path.is_file():
        return [path]
    return sorted(path.glob("actor-*/metrics.jsonl")) or sorted(path.glob("*.jsonl"))


def smooth(x: Floats, y: Floats, window: float) -> Floats:
    """Mean of y over (x - window, x], never looking ahead. x ascends; all (N,)."""
    sums = np.concatenate([[0.0], np.cumsum(y)])
    last = np.arange(1, len(x) + 1)
    first = np.minimum(np.searchsorted(x, x - window, side="right"), last - 1)
    result: Floats = (sums[last] - sums[first]) / (last - first)
    return result


def band(curves: Sequence[Curve], points: int = 200) -> Band:
    """Mean and extremes over runs, on the stretch of x that all of them cover."""
    start = max(curve.x[0] for curve in curves)
    end = max(start, min(curve.x[-1] for curve in curves))
    grid = np.linspace(start, end, points)
    values = np.stack([np.interp(grid, curve.x, curve.smoothed) for curve in curves])
    return Band(curves[0].label, len(curves), grid, values.mean(0), values.min(0), values.max(0))


def _points(logs: Sequence[Sequence[Line]], view: View) -> Iterable[tuple[float, float]]:
    """(x, y) of each finished episode, x in seconds or control steps; several actors' add up."""
    events = []
    for source, lines in enumerate(logs):
        totals = running_totals(lines, *X_KEYS[view.x])
        # What the run had before a session counts every actor, so with several it tells nothing.
        shares = _unreported(lines) if len(logs) == 1 else [0.0] * len(lines)
        for line, reached, share in zip(lines, totals, shares, strict=True):
            if reached is not None:
                x = reached * (1 + share)
                events.append((number(line, "time") or 0.0, source, x, number(line, *view.y_keys)))
    newest: dict[int, float] = {}
    # Stable, so lines without a time (a baseline's) keep their order.
    for _, source, x, y in sorted(events, key=lambda event: event[0]):
        newest[source] = x
        if y is not None:
            yield sum(newest.values()), y


def _unreported(lines: Sequence[Line]) -> Iterator[float]:
    """For each line, the control steps that no session lived to report, as a share of the reported.

    The session after a killed one counts them, as it hears from the learner what is stored.
    """
    before: dict[str, float] = {}  # session -> control steps of the run when it began
    for line in lines:
        steps, total = number(line, "actor/control_steps"), number(line, "actor/total_steps")
        if "session" in line and steps is not None and total is not None:
            session = line["session"]
            before[session] = max(total - steps, before.get(session, 0.0))
    missing, reported, current = 0.0, 0.0, None
    for line, steps in zip(lines, running_totals(lines, "actor/control_steps"), strict=True):
        session = line.get("session")
        if steps is not None and session != current:
            # Less than reported: a killed actor took steps with it that it did drive. They count.
            missing = max(missing, before.get(session or "", 0.0) - reported)
            current = session
        reported = max(reported, steps or 0.0)
        yield missing / reported if reported else 0.0


def _repeat_of(path: Path) -> int:
    """Its task.repeat, by RUN/config.yaml, FILE.yaml or a baseline's config.json; else 1."""
    import yaml

    if path.is_file():
        known = [path.with_suffix(".yaml"), path.with_suffix(".json")]
        if path.name == "metrics.jsonl":  # as a baseline calls it
            known.append(path.parent / "config.json")
    else:
        known = [path / "config.yaml", path / "config.json"]
    config = next((file for file in known if file.is_file()), None)
    if config is None:
        return 1
    try:  # JSON is YAML, too
        found = yaml.safe_load(config.read_text(encoding="utf-8"))["task"].get("repeat", 1)
        return max(1, int(found))
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise NoCurveError(
            f"{config} does not tell task.repeat ({error}); say it with --repeat N"
        ) from error
