"""So many dry runs at a time, each a child process, until every one is done.

# waiting -> running -> done      the dry run ended by itself, all steps stored
#                    -> failed    it said why; the others go on
#                    -> stopped   the sweep was interrupted; the same command goes on
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daydreamer.children import Child, name_of_signal
from daydreamer.dryrun_status import Status
from daydreamer.interrupts import INTERRUPTED
from daydreamer.process import StopFlag
from daydreamer.sweep.display import Row, SweepDisplay

if TYPE_CHECKING:
    from daydreamer.config import Config

log = logging.getLogger(__name__)

POLL_S = 0.5
# A dry run's own bounds: the robot comes to rest, rows drain, the learner's last checkpoint.
GRACE_S = 90.0
PACE_S = 60.0  # the speed shown is that of so much wall time


class Run:
    """One dry run of the sweep, and how far it is."""

    def __init__(self, label: str, seed: int, words: Sequence[str], config: Config) -> None:
        """words: of the dry run, run= and seed= included. config: what they give."""
        self.label, self.seed, self.config = label, seed, config
        self.folder = Path(config.run)
        self.log_file = self.folder.parent / f"{self.folder.name}.log"
        self.state = "waiting"
        self.message = ""  # why it failed
        self.exit_code: int | None = None  # of the last start
        self._child = Child("dryrun", words, self.log_file, {})
        self._status = Status(self.folder, config.actor.id, config.steps)
        self._status.read()
        self._pace: deque[tuple[float, int]] = deque()  # (monotonic s, control steps)

    @property
    def is_complete(self) -> bool:
        """Whether the learner has stored all its steps, by its own account."""
        return self._status.steps_stored >= self.config.steps

    @property
    def steps(self) -> int:
        """Control steps so far, as last seen."""
        return self._status.control_steps

    def start(self) -> None:
        """Begin, or go on."""
        self.state = "running"
        self._child.start()

    def look(self) -> None:
        """Take note of an end."""
        code = self._child.exit_code
        if self.state != "running" or code is None:
            return
        self.exit_code = code
        if code == 0:
            self.state = "done"
            return
        self.state = "failed"
        ended = f"exit code {code}" if code > 0 else f"killed by {name_of_signal(-code)}"
        if code == INTERRUPTED:
            ended = "stopped from outside"
        self.message = f"{ended}; {self.log_file} ends with:\n{self._child.last_words()}"

    def interrupt(self) -> None:
        """Ask for a clean end; returns at once."""
        if self._child.is_running:
            self._child.interrupt()

    def stop(self, grace_s: float) -> None:
        """Wait so long for the clean end that was asked for, then end it harder."""
        if self.state != "running":
            return
        if not self._child.wait(grace_s):
            self._child.stop(grace_s=0.0)
        self.exit_code = self._child.exit_code
        self.state = "done" if self.exit_code == 0 else "stopped"

    def row(self, now_s: float) -> Row:
        """What there is to show."""
        status = self._status.read()
        steps, total = status.control_steps, self.config.steps
        rate_hz = self._rate_hz(now_s, steps) if self.state == "running" else None
        return Row(
            label=self.label,
            seed=self.seed,
            state=self.state,
            steps=steps,
            total_steps=total,
            robot_s=status.robot_seconds,
            reward_per_step=status.reward_per_step,
            recent_return=status.recent_return,
            steps_per_s=rate_hz,
            left_s=max(0, total - steps) / rate_hz if rate_hz else None,
        )

    def record(self) -> dict[str, Any]:
        """As sweep.json has it."""
        return {
            "label": self.label,
            "seed": self.seed,
            "state": self.state,
            "exit_code": self.exit_code,
            "control_steps": self.steps,
            "run": str(self.folder),
            "log": str(self.log_file),
        }

    def _rate_hz(self, now_s: float, steps: int) -> float | None:
        """Control steps in a second of wall time, over the last PACE_S."""
        if not self._pace or self._pace[-1][1] != steps or len(self._pace) == 1:
            self._pace.append((now_s, steps))
        while len(self._pace) > 2 and now_s - self._pace[1][0] > PACE_S:
            self._pace.popleft()
        (begin_s, begin), (_, end) = self._pace[0], self._pace[-1]
        return (end - begin) / (now_s - begin_s) if now_s > begin_s and end > begin else None


class Sweep:
    """All runs, in the order they are begun."""

    def __init__(
        self,
        runs: Sequence[Run],
        jobs: int,
        display: SweepDisplay,
        stop: StopFlag,
        save: Callable[[Sequence[Run]], None],
    ) -> None:
        """save: called whenever the state of a run has changed."""
        self.runs = list(runs)
        self._jobs, self._display, self._stop, self._save = jobs, display, stop, save

    def run(self) -> None:
        """Until every run has ended, or stop."""
        self._show()
        while not self._stop():
            self._start_some()
            for run in self._in_state("running"):
                run.look()
                if run.state != "running":
                    self._changed(run)
            self._show()
            if not self._in_state("waiting") and not self._in_state("running"):
                return
            self._stop.wait(POLL_S)

    def end(self) -> None:
        """End what still runs: all are asked at once, and share one grace."""
        left = self._in_state("running")
        if left:
            self._display.note(f"ending {len(left)} run(s) cleanly; Ctrl-C again to hurry")
        for run in left:
            run.interrupt()
        end_s = time.monotonic() + GRACE_S
        with contextlib.suppress(KeyboardInterrupt):  # more Ctrl-C: no more patience
            for run in left:
                run.stop(max(0.0, end_s - time.monotonic()))
        for run in left:
            run.stop(0.0)
            self._changed(run)
        self._show()

    def _start_some(self) -> None:
        free = self._jobs - len(self._in_state("running"))
        for run in self._in_state("waiting")[:free]:
            run.start()
            self._changed(run)

    def _changed(self, run: Run) -> None:
        if run.state == "running":
            verb = "goes on" if (run.folder / "config.yaml").is_file() else "begins"
            self._display.note(f"{run.label} seed {run.seed} {verb}: {run.log_file}")
        else:
            self._display.note(f"{run.label} seed {run.seed} {run.state}")
        self._save(self.runs)

    def _show(self) -> None:
        now_s = time.monotonic()
        self._display.update([run.row(now_s) for run in self.runs])

    def _in_state(self, state: str) -> list[Run]:
        return [run for run in self.runs if run.state == state]
