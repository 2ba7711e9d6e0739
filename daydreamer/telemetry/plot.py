"""`daydreamer plot DIR... -o FILE`: learning curves of runs and baselines, with their numbers."""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from daydreamer.telemetry.curves import (
    Band,
    Curve,
    NoCurveError,
    View,
    band,
    metrics_files,
    read_points,
    smooth,
)
from daydreamer.telemetry.metrics import MetricsError
from daydreamer.telemetry.picture import Guides, draw

log = logging.getLogger(__name__)

PICTURES = (".png", ".svg", ".pdf")
SMOOTH_MIN = 1.0  # robot minutes averaged over, unless told otherwise
SMOOTH_SHARE = 1 / 25  # of the longest run, where x counts steps
Y_COLUMNS = {"reward": "reward_per_step", "return": "return"}


class Source(NamedTuple):
    """One run to read, and the group it belongs to."""

    label: str
    name: str
    path: Path
    is_named: bool  # given on the command line by itself, so it has to have a curve
    origin: Path | None  # the folder or file that the label is the name of; None: told so


def plot_main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    args = _parser().parse_args(argv)
    output = Path(args.output)
    if output.suffix not in PICTURES:
        kinds = ", ".join(PICTURES)
        sys.stderr.write(f"daydreamer plot: -o {output}: expected a name that ends in {kinds}\n")
        return 2
    view = View(args.x, args.y, args.repeat)
    try:
        guides = [_guide(text) for text in args.guide]
        curves = load_curves(args.runs, view, label_by=args.label_by, window=args.smooth)
    except (NoCurveError, MetricsError, OSError) as error:
        sys.stderr.write(f"daydreamer plot: {error}\n")
        return 1
    except argparse.ArgumentTypeError as error:
        sys.stderr.write(f"daydreamer plot: {error}\n")
        return 2
    picture, table = plot(curves, output, view, guides=guides, title=args.title)
    runs = sum(len(group) for group in curves.values())
    sys.stdout.write(f"{picture} and {table}: {runs} run(s) in {len(curves)} group(s)\n")
    return 0


def load_curves(
    sources: Sequence[str],
    view: View | None = None,
    *,
    label_by: str = "auto",
    window: float | None = None,
) -> dict[str, list[Curve]]:
    """Curves by label. A source is a run, a folder of runs, a sweep, a JSONL file, or LABEL=these.

    label_by: "name" (the run's own), "parent" (the folder it lies in), or "auto": the parent for
    runs found in a folder, else the name. window: of x, to smooth over.
    """
    view = view or View()
    read = []
    for source in (one for text in sources for one in _sources(text, label_by)):
        try:
            read.append((source, *read_points(source.path, view)))
        except NoCurveError as error:
            if source.is_named:
                raise
            log.warning("left out: %s", error)
    if not read:
        raise NoCurveError(
            f"{' '.join(sources)}: no run in it has finished an episode. "
            "Wait until the first episode ends."
        )
    if window is None:
        longest = max(float(x[-1]) for _, x, _, _ in read)
        window = SMOOTH_MIN if view.x == "minutes" else SMOOTH_SHARE * longest
    groups: dict[str, list[Curve]] = {}
    labels = _labels([source for source, *_ in read])
    for (source, x, y, repeat), label in zip(read, labels, strict=True):
        curve = Curve(label, source.name, x, y, smooth(x, y, window), repeat)
        groups.setdefault(label, []).append(curve)
    return groups


def plot(
    curves: Mapping[str, Sequence[Curve]],
    output: Path,
    view: View | None = None,
    *,
    guides: Guides = (),
    title: str = "",
) -> tuple[Path, Path]:
    """Draw the picture and write its CSV; returns both paths."""
    view = view or View()
    bands = {label: band(group) for label, group in curves.items() if len(group) > 1}
    draw(output, curves, bands, view, guides=guides, title=title)
    table = output.with_suffix(".csv")
    _write_csv(table, curves, bands, view)
    return output, table


def _write_csv(
    path: Path, curves: Mapping[str, Sequence[Curve]], bands: Mapping[str, Band], view: View
) -> None:
    """One row per point: every episode of every run, then the mean over seeds of each group."""
    repeats = {curve.repeat for group in curves.values() for curve in group}
    steps = "control_steps" if repeats == {1} else "environment_steps"
    x, form = ("robot_min", "{:.6g}") if view.x == "minutes" else (steps, "{:.0f}")
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("label", "run", x, Y_COLUMNS.get(view.y, view.y), "smoothed", "low", "high"))
        for group in curves.values():
            for curve in group:
                for at, *point in zip(curve.x, curve.y, curve.smoothed, strict=True):
                    place = form.format(at)
                    rows.writerow((curve.label, curve.name, place, *map(_text, point), "", ""))
        for item in bands.values():
            name = f"mean of {item.runs}"
            for at, *rest in zip(item.x, item.mean, item.low, item.high, strict=True):
                rows.writerow((item.label, name, form.format(at), "", *map(_text, rest)))


def _text(value: float) -> str:
    return f"{value:.6g}"


def _sources(text: str, label_by: str) -> list[Source]:
    """What one word of the command line stands for. Raises NoCurveError."""
    given, path = _split_label(text)
    if not path.exists():
        raise NoCurveError(f"{path} does not exist; expected a run folder or a .jsonl file")
    inside = [] if metrics_files(path) else _runs_inside(path)
    parents = {run.parent for run in inside}
    found = []
    for run in inside or [path]:
        whole = run.resolve()
        own = whole.with_suffix("") if run.is_file() else whole
        by_parent = label_by == "parent" or (label_by == "auto" and run != path)
        origin = whole.parent if by_parent else own
        label = given or origin.name
        if given and len(parents) > 1:  # a whole sweep under one name: its labels stay apart
            label = f"{given} {whole.parent.name}"
        found.append(Source(label, own.name, run, run == path, None if given else origin))
    return found


def _labels(sources: Sequence[Source]) -> list[str]:
    """A label each. What only happens to be called alike has the folders above it in front."""
    origins = {source.origin for source in sources if source.origin}
    alike = {
        origin: [other for other in origins if other.name == origin.name] for origin in origins
    }
    return [
        source.label if source.origin is None else _told_apart(source.origin, alike[source.origin])
        for source in sources
    ]


def _told_apart(path: Path, others: Sequence[Path]) -> str:
    """The end of `path` that no other path has; all are different, `path` among them."""
    depth = 1
    while sum(other.parts[-depth:] == path.parts[-depth:] for other in others) > 1:
        depth += 1
    return " ".join(path.parts[-depth:])


def _split_label(source: str) -> tuple[str, Path]:
    label, equals, path = source.partition("=")
    if equals and not Path(source).exists():
        return label, Path(path)
    return "", Path(source)


def _runs_inside(folder: Path) -> list[Path]:
    """Runs in a folder, or in the folders of a sweep, FOLDER/LABEL/seedK."""
    if not folder.is_dir():
        return []
    inside = [child for child in sorted(folder.iterdir()) if child.is_dir()]
    runs = [child for child in inside if metrics_files(child)]
    return runs or [run for child in inside for run in sorted(child.iterdir()) if _is_run(run)]


def _is_run(path: Path) -> bool:
    return path.is_dir() and bool(metrics_files(path))


def _guide(text: str) -> tuple[float, str]:
    height, _, name = text.partition(":")
    try:
        return float(height), name
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"--guide {text!r}: expected HEIGHT:TEXT, for example 8.5:standing"
        ) from None


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found {text!r}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="daydreamer plot", description="Learning curves of runs, as a picture and a CSV."
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="[LABEL=]DIR",
        help="a run, a folder of runs (its seeds), a sweep, or a JSONL file of a baseline",
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
        "--x",
        choices=("minutes", "steps"),
        default="minutes",
        help="robot time (default), or control steps times --repeat",
    )
    parser.add_argument(
        "--y",
        default="reward",
        metavar="WHAT",
        help="reward: of a control step (default); return: of an episode; or a figure of the task "
        "at an episode's end, e.g. score",
    )
    parser.add_argument(
        "--repeat",
        type=_count,
        metavar="N",
        help="environment steps in a control step (default: the run's task.repeat, else 1)",
    )
    parser.add_argument(
        "--smooth",
        type=float,
        metavar="X",
        help="average over so much of the x axis before each point "
        "(default: 1 minute, or a 25th of the longest run's steps)",
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
