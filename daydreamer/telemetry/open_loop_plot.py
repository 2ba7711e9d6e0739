"""Picture of open-loop predictions: lines of truth and dream, and the error over the horizon.

vector [0]   vector [1]   ...     the first window: what happened, what the model dreamed
reward       error / variance     of all windows
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from daydreamer.telemetry.picture import COLOURS, FAINT, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = NDArray[np.float32]

LINES = 16  # numbers drawn at most, beside the reward
COLUMNS = 4
MODEL = COLOURS[1]


def plot(
    path: Path,
    truth: Mapping[str, Values],
    dreams: Mapping[str, Values],
    lengths: Sequence[int],
    spread: Mapping[str, float],
    *,
    images: Collection[str],
    context: int,
    title: str,
) -> None:
    """Draw the first window's vectors and reward, and the error of all windows.

    truth[key] (M, T, *shape), dreams[key] (R, M, T, *shape); lengths (M,). spread: variance of each
    key. Of the vectors' numbers, those are drawn that move most in the window. What is not finite
    leaves a gap.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    *vectors, reward = _lines(truth, dreams, lengths[0], spread, images)
    rows = math.ceil(len(vectors) / COLUMNS)
    # Inches, by hand: a layout engine takes as long as all of the drawing.
    width, height = 13.0, 1.5 * rows + 3.2
    figure = Figure(figsize=(width, height), dpi=100)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        rows + 1,
        COLUMNS,
        height_ratios=[1.0] * rows + [1.7],
        left=0.55 / width,
        right=1 - 0.15 / width,
        bottom=0.5 / height,
        top=1 - 0.6 / height,
        wspace=0.16,
        hspace=0.42,
    )
    # Row `context` is the first one dreamed: step 1.
    steps = np.arange(lengths[0]) - context + 1
    places = [divmod(index, COLUMNS) for index in range(len(vectors))]
    for place, (name, real, guess) in zip([*places, (rows, 0)], [*vectors, reward], strict=True):
        axes = figure.add_subplot(grid[place])
        finite = _gaps(guess)
        for one in finite:
            axes.plot(steps, one, color=MODEL, lw=0.6, alpha=0.4)
        axes.plot(steps, finite.mean(0), color=MODEL, lw=1.6, label="model: mean of its dreams")
        axes.plot(steps, _gaps(real), color=INK, lw=1.4, label="truth")
        axes.set_title(name, loc="left", fontsize=9, color=INK, pad=3)
        _finish(axes, steps)
    handles, labels = axes.get_legend_handles_labels()
    axes = figure.add_subplot(grid[rows, 1:])
    _draw_errors(axes, truth, dreams, lengths, spread, context)
    figure.legend(handles, labels, loc="upper right", frameon=False, ncols=2, fontsize=9)
    top = 1 - 0.12 / height
    figure.suptitle(title, x=0.01, y=top, ha="left", fontsize=12, fontweight="bold", color=INK)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, format="png")
    partial.replace(path)


def _lines(
    truth: Mapping[str, Values],
    dreams: Mapping[str, Values],
    length: int,
    spread: Mapping[str, float],
    images: Collection[str],
) -> list[tuple[str, Values, Values]]:
    """(name, truth (T,), dreams (R, T)) of the first window: what moves most, reward."""
    vectors: list[tuple[float, str, Values, Values]] = []
    for key in sorted(set(truth) - set(images) - {"reward"}):
        real = truth[key][0, :length].reshape(length, -1)
        guess = dreams[key][:, 0, :length].reshape(len(dreams[key]), length, -1)
        moves = real.std(0) / max(math.sqrt(spread[key]), 1e-9)
        for i in range(real.shape[1]):
            name = f"{key} [{i}]" if truth[key].ndim > 2 else key
            vectors.append((float(moves[i]), name, real[:, i], guess[:, :, i]))
    most = sorted(range(len(vectors)), key=lambda i: -vectors[i][0])[:LINES]
    reward = ("reward", truth["reward"][0, :length], dreams["reward"][:, 0, :length])
    return [*(vectors[i][1:] for i in sorted(most)), reward]


def _draw_errors(
    axes: Axes,
    truth: Mapping[str, Values],
    dreams: Mapping[str, Values],
    lengths: Sequence[int],
    spread: Mapping[str, float],
    context: int,
) -> None:
    steps = np.arange(max(lengths)) - context + 1
    inside = np.arange(max(lengths)) < np.array(lengths)[:, None]  # (M, T)
    highest = 1.0
    for index, key in enumerate(sorted(truth)):
        if not spread[key] > 0:
            continue
        gap = (_gaps(dreams[key]).mean(0) - truth[key])[:, : len(steps)]
        square = np.square(gap).reshape(*inside.shape, -1).mean(-1) / spread[key]
        error = np.where(inside, square, 0.0).sum(0) / inside.sum(0)
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(steps, error, color=colour, lw=1.8, label=key)
        known = error[np.isfinite(error)]
        if len(known):
            highest = max(highest, float(np.quantile(known, 0.95)))
    axes.axhline(1.0, color=FAINT, lw=1, ls=(0, (5, 4)))
    axes.set_ylim(0, 1.3 * highest)
    axes.set_title(
        f"squared error / variance, mean of {len(lengths)} windows"
        " (dashed: no better than predicting the mean)",
        loc="left",
        fontsize=9,
        color=INK,
        pad=3,
    )
    axes.set_xlabel("steps since the last look (shaded: rows that the model sees)", color=INK)
    axes.legend(frameon=False, fontsize=9, ncols=4, loc="upper left")
    _finish(axes, steps)


def _gaps(values: Values) -> NDArray[np.float64]:
    """NaN, of which nothing is drawn, for what is not finite; in float64, for its squares."""
    return np.where(np.isfinite(values), values.astype(np.float64), np.nan)


def _finish(axes: Axes, steps: NDArray[np.int64]) -> None:
    axes.axvspan(float(steps[0]), 0.5, color="#009E73", alpha=0.12, lw=0, zorder=0)
    axes.set_xlim(float(steps[0]), float(steps[-1]))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=8)
