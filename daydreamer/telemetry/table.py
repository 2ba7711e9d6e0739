"""How the live table of a dry run looks: pure functions of a status, drawn with rich."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from daydreamer.telemetry.display import DryrunStatus, clock

BLOCKS = "▁▂▃▄▅▆▇█"
PHASE_STYLE = {
    "starting": "yellow",
    "prefill": "cyan",
    "pretraining": "cyan",
    "training": "green",
    "finishing": "yellow",
}


class _Console(Console):
    """A console that reports a broken pipe instead of ending the process, which is rich's way."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError("the terminal is gone")


def open_live(stream: TextIO) -> Live:
    """Start a live area at the bottom of the terminal; it is redrawn only when told to."""
    live = Live(
        console=_Console(file=stream),
        auto_refresh=False,
        transient=False,
        vertical_overflow="visible",
    )
    live.start()
    return live


def render(status: DryrunStatus, rewards: Sequence[float], elapsed_s: float) -> RenderableType:
    """The whole live area: progress, what is going on, figures, losses, reward over time."""
    head = Table.grid(padding=(0, 1), expand=True)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True, justify="right")
    style = PHASE_STYLE.get(status.phase, "bold")
    total = max(1, status.total_steps)
    head.add_row(
        Text(status.phase, style=f"bold {style}"),
        ProgressBar(
            total=total,
            completed=min(status.control_steps, total),
            # Nothing has moved yet: a pulse shows that something is alive.
            pulse=status.control_steps == 0,
            animation_time=elapsed_s,
        ),
        Text(f"{status.control_steps:,} / {status.total_steps:,} steps"),
    )
    parts: list[RenderableType] = [head]
    if status.message:
        parts.append(_message(status, elapsed_s))
    parts += [Text(), _figures(status)]
    if status.losses:
        parts += [Text(), _losses(status)]
    if len(rewards) > 1:
        parts += [Text(), _reward_line(rewards)]
    clocks = f"robot time {clock(status.robot_seconds)} · wall time {clock(elapsed_s)}"
    return Panel(
        Group(*parts),
        title="[bold]daydreamer dryrun",
        subtitle=clocks,
        border_style=style,
        width=88,
    )


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """Block characters from lowest to highest; neighbours are averaged to fit `width`."""
    count = min(width, len(values))
    edges = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in means)


def _message(status: DryrunStatus, elapsed_s: float) -> RenderableType:
    if status.phase == "training":
        return Text(status.message, style="dim")
    spinner = Spinner("dots", text=Text(status.message, style="dim"))
    spinner.start_time = 0.0
    return spinner.render(elapsed_s)


def _figures(status: DryrunStatus) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    for _ in range(3):
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True, justify="right", ratio=1)
    warn = "bold yellow" if status.late_steps > 0.01 * max(1, status.control_steps) else ""
    grid.add_row(
        *("steps/s", _show(status.steps_per_s, "{:.1f}")),
        *("updates", f"{status.updates:,}"),
        *("policy version", _show(status.policy_version, "{:,}")),
    )
    grid.add_row(
        *("return", _show(status.recent_return, "{:.1f}")),
        *("replay ratio", _show(status.replay_ratio, "{:.1f}")),
        *("policy age", _show(status.policy_age_s, "{:.1f} s")),
    )
    grid.add_row(
        *("reward/step", Text(_show(status.reward_per_step, "{:.2f}"), style="bold")),
        *("late steps", Text(f"{status.late_steps:,}", style=warn)),
        *("journal", f"{status.journal_chunks:,} chunks"),
    )
    return grid


def _losses(status: DryrunStatus) -> Table:
    grid = Table.grid(padding=(0, 2), expand=True)
    for _ in range(3):
        grid.add_column(style="dim", no_wrap=True, overflow="ellipsis")
        grid.add_column(no_wrap=True, justify="right", ratio=1)
    cells = [(name, f"{value:.3g}") for name, value in status.losses.items()][:9]
    for start in range(0, len(cells), 3):
        grid.add_row(*(text for cell in cells[start : start + 3] for text in cell))
    return grid


def _reward_line(rewards: Sequence[float]) -> Text:
    line = Text()
    line.append("reward/step  ", style="dim")
    line.append(sparkline(rewards), style="green")
    line.append(f"  {min(rewards):.2f} to {max(rewards):.2f}", style="dim")
    return line


def _show(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
