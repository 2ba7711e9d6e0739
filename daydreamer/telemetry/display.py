"""Live status of a dry run: a table on a terminal, one line every few seconds anywhere else."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.live import Live

log = logging.getLogger(__name__)

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
        self._stream = sys.stdout if stream is None else stream
        self._now = now
        self._silent = False
        self._history: deque[float] = deque(maxlen=240)  # reward per step, one value a change
        self._shown_s = -float("inf")
        self._shown: DryrunStatus | None = None
        self._last = DryrunStatus()
        self._start_s = now()
        self._live: Live | None = None
        if _is_terminal(self._stream):
            from daydreamer.telemetry.table import open_live

            with self._forgiving():
                self._live = open_live(self._stream)

    @property
    def is_table(self) -> bool:
        """Whether a live table is drawn (a terminal, no NO_COLOR)."""
        return self._live is not None

    def update(self, status: DryrunStatus) -> None:
        """Show `status` when the next redraw is due; a new phase or message at once."""
        if self._silent:
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
        if self._silent:
            return
        with self._forgiving():
            if self._live is not None:
                self._live.console.print(text, markup=False, highlight=False)
            else:
                self._print(text)

    def close(self) -> None:
        """Show the last status, unless it is shown; leave the terminal as it was. Repeatable."""
        if self._silent:
            return
        if self._shown is not None and self._shown != self._last:
            self._show()
        if self._live is not None:
            with self._forgiving():
                self._live.stop()
            self._live = None
        self._silent = True

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
        with self._forgiving():
            if self._live is not None:
                from daydreamer.telemetry.table import render

                elapsed_s = self._shown_s - self._start_s
                self._live.update(render(self._last, list(self._history), elapsed_s), refresh=True)
            else:
                self._print(status_line(self._last))

    def _print(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            log.info("nobody reads the display any more; the run goes on without it")
            self._fall_silent()
        except OSError as error:  # a full disk under a redirected output, a terminal that hung up
            log.debug("status not shown: %s", error)

    def _fall_silent(self) -> None:
        self._silent = True
        # What is left in the stream's buffer would raise once more when Python exits.
        with contextlib.suppress(OSError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, self._stream.fileno())
            os.close(sink)
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None


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


def _is_terminal(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # The table is drawn with block characters, which other encodings cannot show.
    return stream.isatty() and (stream.encoding or "").lower().startswith("utf")
