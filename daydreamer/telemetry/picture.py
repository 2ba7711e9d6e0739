"""How learning curves are drawn: a line per label, seeds as a band around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daydreamer.telemetry.curves import Band, Curve, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours: told apart by everyone, also in print. Then again with other strokes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
STROKES = ("-", "--", ":", "-.")
INK, FAINT, GRID = "#222222", "#757575", "#E6E6E6"
Y_LABELS = {
    "reward": "reward per control step, mean over an episode",
    "return": "return of an episode",
}
TEXT_PT = 9.0  # of legend and guides
LEGEND_LETTERS = 96  # that fit below the axes, side by side

Guides = Sequence[tuple[float, str]]


def draw(
    output: Path,
    curves: Mapping[str, Sequence[Curve]],
    bands: Mapping[str, Band],
    view: View,
    *,
    guides: Guides = (),
    title: str = "",
) -> None:
    """Write the picture. bands: of the labels with several runs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for index, (label, group) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        stroke = STROKES[index // len(COLOURS) % len(STROKES)]
        if label in bands:
            _draw_band(axes, bands[label], group, colour, stroke)
        else:
            _draw_run(axes, group[0], label, colour, stroke)
    _finish(axes, curves, view, title)
    _draw_guides(axes, guides, figure.get_figheight())
    if len(curves) > 1 or bands:
        longest = max(len(text) + 6 for text in axes.get_legend_handles_labels()[1])
        # Below the axes, where no curve can run through it.
        legend = figure.legend(
            loc="outside lower center",
            frameon=False,
            labelcolor=INK,
            ncols=max(1, min(len(curves), 4, LEGEND_LETTERS // longest)),
            fontsize=TEXT_PT,
            title=_what_bands_are(bands),
            title_fontproperties={"size": TEXT_PT},
        )
        legend.get_title().set_color(FAINT)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)


def x_label(view: View, curves: Mapping[str, Sequence[Curve]]) -> str:
    """The axis's name, and how many environment steps a control step is where it is not one."""
    if view.x == "minutes":
        return "robot time (minutes)"
    repeats = sorted({curve.repeat for group in curves.values() for curve in group})
    if repeats == [1]:
        return "control steps"
    counts = " or ".join(map(str, repeats))
    return f"environment steps ({counts} in a control step)"


def _what_bands_are(bands: Mapping[str, Band]) -> str | None:
    if not bands:
        return None
    counts = sorted({band.runs for band in bands.values()})
    return f"mean, minimum to maximum of {' or '.join(map(str, counts))} seeds"


def _draw_run(axes: Axes, curve: Curve, label: str, colour: str, stroke: str) -> None:
    axes.plot(curve.x, curve.y, "o", color=colour, ms=2.5, alpha=0.25, mew=0, zorder=2)
    axes.plot(curve.x, curve.smoothed, stroke, color=colour, lw=2, label=label, zorder=3)


def _draw_band(axes: Axes, band: Band, group: Sequence[Curve], colour: str, stroke: str) -> None:
    axes.fill_between(band.x, band.low, band.high, color=colour, alpha=0.16, lw=0, zorder=1)
    for curve in group:
        axes.plot(curve.x, curve.y, "o", color=colour, ms=1.8, alpha=0.22, mew=0, zorder=1.5)
        axes.plot(curve.x, curve.smoothed, color=colour, lw=0.7, alpha=0.45, zorder=2)
    axes.plot(band.x, band.mean, stroke, color=colour, lw=2.2, label=band.label, zorder=3)


def _finish(axes: Axes, curves: Mapping[str, Sequence[Curve]], view: View, title: str) -> None:
    axes.set_xlabel(x_label(view, curves), color=INK)
    axes.set_ylabel(Y_LABELS.get(view.y, f"{view.y} at the end of an episode"), color=INK)
    axes.set_xlim(0, 1.01 * max(curve.x[-1] for group in curves.values() for curve in group))
    if view.x == "steps":
        axes.xaxis.set_major_formatter("{x:,.0f}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK)
    axes.grid(axis="y", color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold", pad=12)


def _draw_guides(axes: Axes, guides: Guides, height_in: float) -> None:
    """Horizontal lines, their names to the right of the axes, pushed apart where they are close."""
    for height, _ in guides:
        axes.axhline(height, color=FAINT, lw=1, ls=(0, (5, 4)), zorder=0.8)
    axes.set_ylim(axes.get_ylim())  # names must not move the curves any more
    low, high = axes.get_ylim()
    line = 1.3 * TEXT_PT / (72 * axes.get_position().height * height_in)
    free = -1.0  # up to where names are, as a share of the axes' height
    for height, text in sorted(guides):
        at = max((height - low) / (high - low), free + line)
        free = at
        axes.annotate(
            text or f"{height:g}",
            (1, at),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=FAINT,
            fontsize=TEXT_PT,
        )
