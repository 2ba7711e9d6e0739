"""RUN/learner/report/<updates>/: what the model makes of episodes that it was not trained on.

    health.json            the figures, as in metrics.jsonl under health/; null: not finite
    open_loop.png          vectors and reward: what happened, what the model dreamed, the error
    open_loop.mp4          images: truth, model, error; open_loop_sheet.png has some of its frames
RUN/learner/report/latest -> <updates>

Figures come from the training thread, between two updates; a thread of its own draws and encodes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import queue
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from daydreamer.agents.agent import Agent
from daydreamer.agents.health import Health, examine
from daydreamer.agents.open_loop import CONTEXT, HORIZONS
from daydreamer.replay.held_out import HeldOut, HeldOutWindows
from daydreamer.telemetry.metrics import MetricsLog

log = logging.getLogger(__name__)

WINDOWS = 32
CLOSE_S = 20.0


class _Job(NamedTuple):
    health: Health
    updates: int
    period_s: float  # of a control step


class Reports:
    """Examines the agent now and then. Used from the training thread; close() ends the drawing."""

    def __init__(
        self,
        agent: Agent,
        held_out: HeldOut,
        metrics: MetricsLog,
        folder: Path,
        *,
        every_s: float,
        keep: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """every_s: between two reports, 0 for none. The first one is due with the first windows."""
        self._agent, self._held_out, self._metrics = agent, held_out, metrics
        self._folder, self._every_s, self._keep, self._now = folder, every_s, keep, now
        self._reported_s = -float("inf")
        self._reported_updates = 0
        self._has_said = False
        self._jobs: queue.Queue[_Job | None] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None
        if every_s and held_out.every:
            self._thread = threading.Thread(target=self._draw, name="report", daemon=True)
            self._thread.start()

    def keep_time(self) -> None:
        """Report, when it is due and something was learned since the last time."""
        updates = self._agent.updates
        if self._thread is None or updates == self._reported_updates:
            return
        if self._now() - self._reported_s < self._every_s:
            return
        self._reported_s = self._now()
        windows = self._held_out.windows(WINDOWS, CONTEXT + max(HORIZONS), CONTEXT + 1)
        if windows is None:
            self._say_why_not()
            # Look again soon: a session's first held-out episode is worth a report.
            self._reported_s -= 0.9 * self._every_s
            return
        self._reported_updates = updates
        try:
            health = self.examine(windows)
        except Exception as error:  # noqa: BLE001 - a GPU's memory, say: the run is worth more
            log.error("no health/ metrics and no report of update %d: %r", updates, error)
            return
        values = {f"health/{name}": x for name, x in health.metrics.items()}
        values["health/windows"] = float(len(windows.length))
        self._metrics.write(updates, values)
        try:
            self._jobs.put_nowait(_Job(health, updates, _period_s(windows)))
        except queue.Full:
            log.info("the report of update %d is not drawn: the last one is in work", updates)

    def examine(self, windows: HeldOutWindows) -> Health:
        """The agent as it is now. Of the same windows and weights, always the same figures."""
        agent = self._agent
        names = (*agent.model.keys, "action", "reward", "is_first", "is_terminal")
        batch = {name: torch.from_numpy(windows.columns[name]) for name in names}
        spread = {name: self._held_out.spread(name) for name in (*agent.model.keys, "reward")}
        for name in agent.model.decoder.images:
            spread[name] /= 255**2
        # Not the agent's own generator: what it draws next must not depend on reports.
        generator = torch.Generator(agent.device).manual_seed(agent.updates)
        return examine(agent, batch, torch.from_numpy(windows.length), spread, generator)

    def close(self) -> None:
        """Finish what is being drawn, bounded; what waits for it is dropped."""
        if self._thread is None:
            return
        with contextlib.suppress(queue.Empty):
            waiting = self._jobs.get_nowait()
            if waiting is not None:
                log.info("the report of update %d is not drawn: the run ends", waiting.updates)
        self._jobs.put_nowait(None)
        self._thread.join(timeout=CLOSE_S)

    def _say_why_not(self) -> None:
        if not self._has_said:
            self._has_said = True
            every = self._held_out.every
            log.info(
                "no health/ metrics and no report yet: a session's episode %d is the first one "
                "held out (learner.holdout_every=%d), with %d rows at least",
                every // 2 + 1,
                every,
                CONTEXT + 1,
            )

    def _draw(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._write(job)
            except Exception as error:  # noqa: BLE001 - a run is worth more than its pictures
                log.error("the report of update %d is not drawn: %r", job.updates, error)

    def _write(self, job: _Job) -> None:
        # Here, so that no learner waits for matplotlib at its start.
        from daydreamer.telemetry.open_loop_film import film
        from daydreamer.telemetry.open_loop_plot import plot

        self._folder.mkdir(parents=True, exist_ok=True)
        for left_over in self._folder.glob(".writing-*"):
            shutil.rmtree(left_over, ignore_errors=True)
        partial = self._folder / f".writing-{job.updates}"
        partial.mkdir()
        figures = {
            name: value if math.isfinite(value) else None
            for name, value in job.health.metrics.items()
        }
        text = json.dumps({"updates": job.updates, **figures}, indent=1, allow_nan=False)
        (partial / "health.json").write_text(text + "\n", encoding="utf-8")
        shown = job.health.shown
        images = set(self._agent.model.decoder.images)
        truth, dreams = (
            {key: x.numpy() for key, x in part.items()} for part in (shown.truth, shown.dreams)
        )
        lengths, title = shown.length.tolist(), f"open loop, update {job.updates:,}"
        plot(
            partial / "open_loop.png",
            truth,
            dreams,
            lengths,
            shown.spread,
            images=images,
            context=shown.context,
            title=title,
        )
        if images:
            film(
                partial / "open_loop.mp4",
                {key: truth[key] for key in sorted(images)},
                {key: dreams[key][0] for key in sorted(images)},
                lengths,
                context=shown.context,
                fps=1 / job.period_s,
            )
        final = self._folder / str(job.updates)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        link = self._folder / ".latest"
        link.unlink(missing_ok=True)
        link.symlink_to(final.name)
        link.replace(self._folder / "latest")
        there = sorted(int(p.name) for p in self._folder.iterdir() if p.name.isdecimal())
        # Those of a run that went back to a checkpoint are of weights that are no more.
        undone = [updates for updates in there if updates > job.updates]
        for updates in (*undone, *surplus(there[: len(there) - len(undone)], self._keep)):
            shutil.rmtree(self._folder / str(updates), ignore_errors=True)


def surplus(reports: Sequence[int], keep: int) -> list[int]:
    """Which of the reports (update counts, ascending) to delete so that `keep` are left.

    The first, and the newer half of those kept, stay; among the others, the one goes that leaves
    the smallest gap.
    """
    left = list(reports)
    newest = max(1, keep // 2)
    gone = []
    while len(left) > keep:
        old = range(1, len(left) - newest)
        index = min(old, key=lambda i: left[i + 1] - left[i - 1], default=0)
        gone.append(left.pop(index))
    return gone


def _period_s(windows: HeldOutWindows) -> float:
    """Of a control step, as most rows have it."""
    dt_s = windows.columns["dt_s"]
    measured = dt_s[dt_s > 0]
    return float(torch.from_numpy(measured).median()) if len(measured) else 0.05
