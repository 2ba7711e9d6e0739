"""Learning curves as numbers: read from runs or baselines, smoothed, averaged over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from daydreamer.telemetry.metrics import Line, number, read_metrics, running_totals

Floats = NDArray[np.float64]
REWARD_KEYS = ("episode/reward_per_step", "reward_per_step")
SECONDS_KEYS = ("actor/robot_seconds", "robot_seconds")


class NoCurveError(ValueError):
    """There is nothing to plot at a path. Says what was looked for."""


@dataclass(frozen=True)
class Curve:
    """One run: a point per episode, in order of robot time."""

    label: str
    name: str
    robot_min: Floats  # (N,) robot time at the episode's end, summed over the run's actors
    reward_per_step: Floats  # (N,)
    smoothed: Floats  # (N,) mean over the window that ends at the point


@dataclass(frozen=True)
class Band:
    """Several runs of one label on a common grid of robot time."""

    label: str
    runs: int
    robot_min: Floats  # (G,)
    mean: Floats  # (G,) of the smoothed curves
    low: Floats
    high: Floats


def read_curve(path: Path, label: str, name: str, window_min: float) -> Curve:
    """Read a run folder, or a file of lines with robot_seconds and reward_per_step."""
    files = metrics_files(path)
    points = sorted(_points([read_metrics(file) for file in files]))
    if not points:
        raise NoCurveError(
            f"{path}: no finished episode in {len(files)} metrics file(s); "
            f"expected lines with {REWARD_KEYS[0]} and {SECONDS_KEYS[0]}. "
            "Wait until the first episode ends, or name another folder."
        )
    robot_min = np.array([seconds for seconds, _ in points]) / 60
    reward = np.array([value for _, value in points])
    return Curve(label, name, robot_min, reward, smooth(robot_min, reward, window_min))


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
    """Mean and extremes over runs, on the stretch of robot time that all of them cover."""
    start = max(curve.robot_min[0] for curve in curves)
    end = max(start, min(curve.robot_min[-1] for curve in curves))
    grid = np.linspace(start, end, points)
    values = np.stack([np.interp(grid, curve.robot_min, curve.smoothed) for curve in curves])
    return Band(curves[0].label, len(curves), grid, values.mean(0), values.min(0), values.max(0))


def _points(logs: Iterable[Sequence[Line]]) -> Iterable[tuple[float, float]]:
    """(robot seconds, reward per step) of each finished episode; several actors' seconds add up."""
    events = []
    for source, lines in enumerate(logs):
        for line, seconds in zip(lines, running_totals(lines, *SECONDS_KEYS), strict=True):
            if seconds is not None:
                reward = number(line, *REWARD_KEYS)
                events.append((number(line, "time") or 0.0, source, seconds, reward))
    reached: dict[int, float] = {}
    # Stable, so lines without a time (a baseline's) keep their order.
    for _, source, seconds, reward in sorted(events, key=lambda event: event[0]):
        reached[source] = seconds
        if reward is not None:
            yield sum(reached.values()), reward
