"""`daydreamer plot DIR... -o FILE`: learning curves over robot time, and their numbers as CSV."""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daydreamer.telemetry.curves import Band, Curve, NoCurveError, band, metrics_files, read_curve
from daydreamer.telemetry.metrics import MetricsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

log = logging.getLogger(__name__)

# Okabe and Ito's colours: told apart by everyone, also in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555")
PICTURES = (".png", ".svg", ".pdf")
INK, FAINT = "#222222", "#8A8A8A"


def plot_main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    args = _parser().parse_args(argv)
    output = Path(args.output)
    if output.suffix not in PICTURES:
        kinds = ", ".join(PICTURES)
        sys.stderr.write(f"daydreamer plot: -o {output}: expected a name that ends in {kinds}\n")
        return 2
    try:
        guides = [_guide(text) for text in args.guide]
        curves = load_curves(args.runs, label_by=args.label_by, window_min=args.smooth_min)
    except (NoCurveError, MetricsError, OSError) as error:
        sys.stderr.write(f"daydreamer plot: {error}\n")
        return 1
    except argparse.ArgumentTypeError as error:
        sys.stderr.write(f"daydreamer plot: {error}\n")
        return 2
    picture, table = plot(curves, output, guides=guides, title=args.title)
    runs = sum(len(group) for group in curves.values())
    sys.stdout.write(f"{picture} and {table}: {runs} run(s) in {len(curves)} group(s)\n")
    return 0


def load_curves(
    sources: Sequence[str], *, label_by: str = "auto", window_min: float = 1.0
) -> dict[str, list[Curve]]:
    """Curves by label. A source is a run, a folder of runs, a JSONL file, or LABEL=any of these.

    label_by: "name" (the run's own), "parent" (the folder it lies in), or "auto": the parent for
    runs found in a folder of runs, else the name.
    """
    groups: dict[str, list[Curve]] = {}
    for source in sources:
        given, path = _split_label(source)
        if not path.exists():
            raise NoCurveError(f"{path} does not exist; expected a run folder or a .jsonl file")
        runs = [path] if metrics_files(path) else _runs_inside(path)
        for run in runs or [path]:
            name = run.stem if run.is_file() else run.resolve().name
            by_parent = label_by == "parent" or (label_by == "auto" and run != path)
            label = given or (run.resolve().parent.name if by_parent else name)
            groups.setdefault(label, []).append(read_curve(run, label, name, window_min))
    return groups


def plot(
    curves: Mapping[str, Sequence[Curve]],
    output: Path,
    *,
    guides: Sequence[tuple[float, str]] = (),
    title: str = "",
) -> tuple[Path, Path]:
    """Draw the picture and write its CSV; returns both paths."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bands: list[Band] = []
    for index, (label, group) in enumerate(curves.items()):
        colour = COLOURS[index % len(COLOURS)]
        if len(group) > 1:
            bands.append(band(group))
            _draw_band(axes, bands[-1], group, colour)
        else:
            _draw_run(axes, group[0], label, colour)
    end_min = max(curve.robot_min[-1] for group in curves.values() for curve in group)
    _finish(axes, 1.01 * end_min, guides, title)
    if len(curves) > 1 or bands:
        # Below the axes, where no curve can run through it.
        figure.legend(
            loc="outside lower center", frameon=False, labelcolor=INK, ncols=2, fontsize=9
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output)
    table = output.with_suffix(".csv")
    _write_csv(table, curves, bands)
    return output, table


def _draw_run(axes: Axes, curve: Curve, label: str, colour: str) -> None:
    x, raw = curve.robot_min, curve.reward_per_step
    axes.plot(x, raw, "o", color=colour, ms=2.5, alpha=0.25, mew=0, zorder=2)
    axes.plot(x, curve.smoothed, color=colour, lw=2, label=label, zorder=3)


def _draw_band(axes: Axes, group_band: Band, group: Sequence[Curve], colour: str) -> None:
    x = group_band.robot_min
    axes.fill_between(x, group_band.low, group_band.high, color=colour, alpha=0.16, lw=0, zorder=1)
    for curve in group:
        axes.plot(curve.robot_min, curve.smoothed, color=colour, lw=0.7, alpha=0.45, zorder=2)
    label = f"{group_band.label} ({group_band.runs} seeds: mean, min to max)"
    axes.plot(x, group_band.mean, color=colour, lw=2.2, label=label, zorder=3)


def _finish(axes: Axes, end_min: float, guides: Sequence[tuple[float, str]], title: str) -> None:
    for height, text in guides:
        axes.axhline(height, color=FAINT, lw=1, ls=(0, (5, 4)), zorder=0.8)
        axes.annotate(
            text or f"{height:g}",
            (1, height),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=FAINT,
            fontsize=9,
        )
    axes.set_xlabel("robot time (minutes)", color=INK)
    axes.set_ylabel("reward per step, mean over an episode", color=INK)
    axes.set_xlim(0, end_min)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK)
    axes.grid(axis="y", color="#E6E6E6", lw=0.8)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold", pad=12)


def _write_csv(path: Path, curves: Mapping[str, Sequence[Curve]], bands: Sequence[Band]) -> None:
    """One row per point: every episode of every run, then the mean over seeds of each group."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("label", "run", "robot_min", "reward_per_step", "smoothed", "low", "high"))
        for group in curves.values():
            for curve in group:
                columns = (curve.robot_min, curve.reward_per_step, curve.smoothed)
                for values in zip(*columns, strict=True):
                    rows.writerow((curve.label, curve.name, *(f"{v:.6g}" for v in values), "", ""))
        for item in bands:
            name = f"mean of {item.runs}"
            for point in zip(item.robot_min, item.mean, item.low, item.high, strict=True):
                x, *rest = (f"{v:.6g}" for v in point)
                rows.writerow((item.label, name, x, "", *rest))


def _split_label(source: str) -> tuple[str, Path]:
    label, equals, path = source.partition("=")
    if equals and not Path(source).exists():
        return label, Path(path)
    return "", Path(source)


def _runs_inside(folder: Path) -> list[Path]:
    return [child for child in sorted(folder.iterdir()) if child.is_dir() and metrics_files(child)]


def _guide(text: str) -> tuple[float, str]:
    height, _, name = text.partition(":")
    try:
        return float(height), name
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"--guide {text!r}: expected HEIGHT:TEXT, for example 8.5:standing"
        ) from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="daydreamer plot", description="Learning curves over robot time, as a PNG and a CSV."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="[LABEL=]DIR",
        help="a run, a folder of runs (its seeds), or a JSONL file of a baseline",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="FILE", help="the picture, e.g. a1.png"
    )
    parser.add_argument(
        "--label-by",
        choices=("auto", "name", "parent"),
        default="auto",
        help="group runs under their own name or their parent folder's",
    )
    parser.add_argument(
        "--smooth-min",
        type=float,
        default=1.0,
        metavar="MIN",
        help="average over this much robot time before each point (default: 1)",
    )
    parser.add_argument(
        "--guide",
        action="append",
        default=[],
        metavar="HEIGHT:TEXT",
        help="a horizontal line, e.g. 8.5:standing; may be repeated",
    )
    parser.add_argument("--title", default="", help="written above the curves")
    return parser
