"""Live status of a sweep: a line with a bar for each run, or plain lines now and then."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from daydreamer.telemetry.display import clock
from daydreamer.telemetry.screen import Screen

if TYPE_CHECKING:
    from rich.console import RenderableType

TABLE_PERIOD_S = 1.0
LINE_PERIOD_S = 60.0
MARGIN_LINES = 6  # of the terminal, around the runs
WIDE = 110  # columns from which there is room for a bar and the return
FIGURES, FIGURES_WIDE = 67, 88  # columns that all but the label take
# In the order in which runs stay visible where the terminal is too low for all.
STYLES = {
    "running": "green",
    "failed": "bold red",
    "stopped": "yellow",
    "waiting": "dim",
    "done": "cyan",
}


@dataclass(frozen=True)
class Row:
    """One run of a sweep. None: not known, or none yet."""

    label: str
    seed: int
    state: str = "waiting"  # one of STYLES
    steps: int = 0
    total_steps: int = 0
    robot_s: float = 0.0
    reward_per_step: float | None = None  # mean over recent rows
    recent_return: float | None = None  # of the last finished episode
    steps_per_s: float | None = None
    left_s: float | None = None


class SweepDisplay:
    """Shows the newest rows; call update() as often as convenient. Used from one thread."""

    def __init__(
        self, stream: TextIO | None = None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._screen, self._now = Screen(stream), now
        self._drawn_s = -float("inf")
        self._said_s: dict[tuple[str, int], float] = {}  # run -> when it last had a line
        self._rows: Sequence[Row] = ()

    def update(self, rows: Sequence[Row]) -> None:
        """Show `rows` when it is time to."""
        self._rows = rows
        if self._screen.is_live:
            if self._now() - self._drawn_s >= TABLE_PERIOD_S:
                self._draw()
            return
        for row in rows:
            run = (row.label, row.seed)
            if row.state != "running":
                self._said_s.pop(run, None)
            elif self._now() - self._said_s.setdefault(run, self._now()) >= LINE_PERIOD_S:
                self._said_s[run] = self._now()
                self._screen.say(line(row))

    def note(self, text: str) -> None:
        """Print one line that stays, above the runs."""
        self._screen.say(text)

    def close(self) -> None:
        """Show the last rows; leave the terminal as it was. Any number of times."""
        if self._screen.is_live:
            self._draw()
        self._screen.close()

    def _draw(self) -> None:
        self._drawn_s = self._now()
        width, height = shutil.get_terminal_size()
        self._screen.draw(_area(self._rows, max(3, height - MARGIN_LINES), width))


def line(row: Row) -> str:
    """One run as plain text."""
    return "  ".join([f"{row.label} seed {row.seed}", f"[{row.state}]", *_figures(row)])


def footer(rows: Sequence[Row]) -> str:
    """How far the sweep is, and when it should end at the present pace."""
    counts = {state: sum(row.state == state for row in rows) for state in STYLES}
    parts = [f"{counts['done']} of {len(rows)} runs done"]
    parts += [f"{counts[state]} {state}" for state in ("running", "waiting", "failed", "stopped")
              if counts[state]]  # fmt: skip
    open_rows = [row for row in rows if row.state in ("running", "waiting")]
    pace = sum(row.steps_per_s or 0.0 for row in open_rows)
    if pace:
        left = sum(max(0, row.total_steps - row.steps) for row in open_rows)
        parts.append(f"about {clock(left / pace)} left")
    return ", ".join(parts)


def visible(rows: Sequence[Row], room: int) -> list[Row]:
    """At most `room` of the rows, the most interesting ones, in their order."""
    order = list(STYLES)
    ranked = sorted(range(len(rows)), key=lambda index: (order.index(rows[index].state), index))
    return [rows[index] for index in sorted(ranked[:room])]


def _figures(row: Row) -> list[str]:
    percent = f" ({100 * row.steps / row.total_steps:.0f} %)" if row.total_steps else ""
    optional = (
        ("reward/step {:.2f}", row.reward_per_step),
        ("return {:.1f}", row.recent_return),
        ("{:.1f} steps/s", row.steps_per_s),
    )
    parts = [f"steps {row.steps:,}/{row.total_steps:,}{percent}", f"robot {clock(row.robot_s)}"]
    parts += [form.format(value) for form, value in optional if value is not None]
    return parts + ([] if row.left_s is None else [f"{clock(row.left_s)} left"])


def _area(rows: Sequence[Row], room: int, width: int) -> RenderableType:
    """The live area: at most `room` runs, on `width` columns."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    wide = width >= WIDE
    label_width = max(12, width - (FIGURES_WIDE if wide else FIGURES))
    table = Table(box=None, padding=(0, 1), expand=wide, header_style="dim")
    table.add_column("run", no_wrap=True, overflow="ellipsis", max_width=label_width)
    table.add_column("seed", no_wrap=True, justify="right")
    table.add_column("", no_wrap=True)
    if wide:
        table.add_column("", ratio=1, min_width=8)
    names = ("steps", "robot", "reward/step", *(("return",) if wide else ()), "steps/s", "left")
    for name in names:
        table.add_column(name, no_wrap=True, justify="right")
    shown = visible(rows, room)
    for row in shown:
        style, total = STYLES[row.state], max(1, row.total_steps)
        bar = ProgressBar(
            total=total,
            completed=min(row.steps, total),
            complete_style=style,
            finished_style=style,
        )
        table.add_row(
            row.label,
            str(row.seed),
            Text(row.state, style=style),
            *([bar] if wide else []),
            f"{row.steps:,}",
            clock(row.robot_s),
            _or_dash(row.reward_per_step, "{:.2f}"),
            *([_or_dash(row.recent_return, "{:.1f}")] if wide else []),
            _or_dash(row.steps_per_s, "{:.1f}"),
            "-" if row.left_s is None else clock(row.left_s),
        )
    hidden = len(rows) - len(shown)
    text = footer(rows) + (f" ({hidden} not shown)" if hidden else "")
    return Group(table, Text(text, style="dim"))


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
