"""Live status of a dry run: a table on a terminal, one line every few seconds anywhere else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TextIO

from daydreamer.telemetry.screen import Screen

TABLE_PERIOD_S = 0.25
LINE_PERIOD_S = 5.0


@dataclass(frozen=True)
class DryrunStatus:
    """What a dry run shows. None: not known, or none yet."""

    phase: str = "starting"  # "starting", "prefill", "pretraining", "training", "finishing"
    message: str = ""  # what is being waited for or done right now
    control_steps: int = 0
    total_steps: int = 0
    robot_seconds: float = 0.0
    steps_per_s: float | None = None
    recent_return: float | None = None  # of the last finished episode
    reward_per_step: float | None = None  # mean over recent rows
    updates: int = 0
    replay_ratio: float | None = None
    policy_version: int | None = None
    policy_age_s: float | None = None
    late_steps: int = 0
    journal_chunks: int = 0
    losses: Mapping[str, float] = field(default_factory=dict)


class LiveDisplay:
    """Shows the newest status; call update() as often as convenient. Used from one thread.

    Never raises because of its terminal: once nobody reads it (a broken pipe), it falls silent.
    """

    def __init__(
        self, stream: TextIO | None = None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._screen = Screen(stream)
        self._history: deque[float] = deque(maxlen=240)  # reward per step, one value a change
        self._shown_s = -float("inf")
        self._shown: DryrunStatus | None = None
        self._last = DryrunStatus()
        self._start_s = now()

    @property
    def is_table(self) -> bool:
        """Whether a live table is drawn (a terminal, no NO_COLOR)."""
        return self._screen.is_live

    def update(self, status: DryrunStatus) -> None:
        """Show `status` when the next redraw is due; a new phase or message at once."""
        if self._screen.is_silent:
            return
        self._last = status
        reward = status.reward_per_step
        if reward is not None and (not self._history or self._history[-1] != reward):
            self._history.append(reward)
        shown = self._shown
        changed = shown is None or (status.phase, status.message) != (shown.phase, shown.message)
        period_s = TABLE_PERIOD_S if self.is_table else LINE_PERIOD_S
        if changed or self._now() - self._shown_s >= period_s:
            self._show()

    def note(self, text: str) -> None:
        """Print one line that stays, above the table where there is one."""
        self._screen.say(text)

    def close(self) -> None:
        """Show the last status, unless it is shown; leave the terminal as it was. Repeatable."""
        if self._screen.is_silent:
            return
        if self._shown is not None and self._shown != self._last:
            self._show()
        self._screen.close()

    def __enter__(self) -> LiveDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _show(self) -> None:
        self._shown_s = self._now()
        self._shown = self._last
        if not self.is_table:
            self._screen.say(status_line(self._last))
            return
        from daydreamer.telemetry.table import render

        elapsed_s = self._shown_s - self._start_s
        self._screen.draw(render(self._last, list(self._history), elapsed_s))


def status_line(status: DryrunStatus) -> str:
    """One line without colour: what a log file keeps of a run."""
    s = status
    percent = f" ({100 * s.control_steps / s.total_steps:.0f} %)" if s.total_steps else ""
    parts = [
        f"[{s.phase}]",
        f"steps {s.control_steps}/{s.total_steps}{percent}"
        if s.total_steps
        else f"steps {s.control_steps}",
        f"robot {clock(s.robot_seconds)}",
    ]
    optional = (
        ("{:.0f} steps/s", s.steps_per_s),
        ("return {:.1f}", s.recent_return),
        ("reward/step {:.2f}", s.reward_per_step),
        ("updates {}", s.updates or None),
        ("replay ratio {:.1f}", s.replay_ratio),
        ("policy v{}", s.policy_version),
        ("age {:.1f} s", s.policy_age_s),
        ("late {}", s.late_steps or None),
        ("journal {}", s.journal_chunks or None),
    )
    parts += [form.format(value) for form, value in optional if value is not None]
    parts += [f"{name} {value:.3g}" for name, value in s.losses.items()]
    if s.message:
        parts.append(s.message)
    return "  ".join(parts)


def clock(seconds: float) -> str:
    """75.2 -> '1:15', 3700 -> '1:01:40'."""
    whole = max(0, int(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
