"""The end of a sweep: FOLDER/curve.png with its numbers, and a table of what was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daydreamer.telemetry.curves import NoCurveError, View, read_points
from daydreamer.telemetry.metrics import MetricsError
from daydreamer.telemetry.plot import load_curves, plot

LAST = 10  # episodes that a run is summed up by


@dataclass(frozen=True)
class Result:
    """One run as the table shows it."""

    label: str
    seed: int
    state: str
    steps: int
    total_steps: int
    last_return: float | None  # mean over its last episodes; None: none has ended


def draw(folder: Path) -> str:
    """Write the picture and its CSV as far as there are episodes; returns what was done."""
    try:
        curves = load_curves([str(folder)], label_by="parent")
        picture, numbers = plot(curves, folder / "curve.png", title=folder.resolve().name)
    except (NoCurveError, MetricsError, OSError) as error:
        return f"nothing was drawn: {error}"
    return f"{picture} and {numbers}"


def last_return(run: Path) -> float | None:
    """Mean return of the last episodes of a run."""
    try:
        _, returns, _ = read_points(run, View(y="return"))
    except (NoCurveError, MetricsError, OSError):  # draw() says so
        return None
    return float(returns[-LAST:].mean())


def table(results: Sequence[Result]) -> str:
    """A line for each run, and one for each label with several."""
    rows: list[tuple[str, ...]] = [("run", "seed", "", "steps", f"return, last {LAST} episodes")]
    for label in dict.fromkeys(result.label for result in results):
        group = [result for result in results if result.label == label]
        for one in group:
            steps = f"{one.steps:,} of {one.total_steps:,}"
            found = "-" if one.last_return is None else f"{one.last_return:.1f}"
            rows.append((label, str(one.seed), one.state, steps, found))
        known = [one.last_return for one in group if one.last_return is not None]
        if len(known) > 1:
            mean = sum(known) / len(known)
            spread = f"{mean:.1f}  ({min(known):.1f} to {max(known):.1f})"
            rows.append((label, "all", f"mean of {len(known)}", "", spread))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
