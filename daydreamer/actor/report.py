"""Figures of a running actor: the control thread drops them off, another thread writes them."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from daydreamer.actor.loop import StepRecord
from daydreamer.telemetry.metrics import MetricsLog
from daydreamer.wire.rows import RANDOM

log = logging.getLogger(__name__)

POLL_S = 0.1


class Report:
    """Writes RUN/actor-<id>/metrics.jsonl: a line every few seconds and one per finished episode.

    Counters count from the start of the session.
    """

    def __init__(
        self,
        metrics: MetricsLog,
        session: str,
        gauges: Callable[[], Mapping[str, float]],
        *,
        log_every_s: float = 2.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """gauges: what to read at the time of writing, by metric name."""
        self._metrics, self._session, self._gauges = metrics, session, gauges
        self._log_every_s, self._now = log_every_s, now
        self._records: deque[StepRecord] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)
        self._written_s = now()
        self._written_steps = 0
        self._rate_hz = 0.0  # control steps per wall second
        self._steps = 0
        self._robot_s = 0.0
        self._random_steps = 0
        self._rewards: deque[float] = deque(maxlen=1000)
        self._age_s = 0.0
        self._episode: list[StepRecord] = []
        self._episodes = 0

    def add(self, record: StepRecord) -> None:
        """One more control step. Control thread; only appends."""
        self._records.append(record)

    def start(self) -> None:
        """Begin writing."""
        self._thread.start()

    def close(self) -> None:
        """Write what is left. The metrics file stays open."""
        self._stop.set()
        self._thread.join(timeout=10.0)
        self._take()
        self._write()

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            self._take()
            if self._now() - self._written_s >= self._log_every_s:
                self._write()

    def _take(self) -> None:
        while self._records:
            record = self._records.popleft()
            self._steps += 1
            self._robot_s += record.dt_s
            self._random_steps += record.choice.who == RANDOM
            self._rewards.append(record.arrival.reward)
            self._age_s = record.policy_age_s
            if record.begins:  # what is left of an episode that was interrupted has no return
                self._episode = []
            self._episode.append(record)
            if record.arrival.is_last:
                self._write_episode()

    def _write(self) -> None:
        time_s = self._now()
        passed_s = time_s - self._written_s
        if passed_s >= self._log_every_s / 2:  # the last line, at the end, may cover a moment only
            self._rate_hz = (self._steps - self._written_steps) / passed_s
        values: dict[str, float] = {
            **self._counters(),
            "actor/steps_per_s": self._rate_hz,
            "actor/policy_age_s": self._age_s,
            "actor/random_steps": self._random_steps,
            "actor/episodes": self._episodes,
            **self._gauges(),
        }
        if self._rewards:
            values["actor/reward_per_step"] = sum(self._rewards) / len(self._rewards)
        self._metrics.write(self._steps, values, session=self._session)
        self._written_s, self._written_steps = time_s, self._steps

    def _write_episode(self) -> None:
        rows, self._episode = self._episode, []
        self._episodes += 1
        total = sum(row.arrival.reward for row in rows)
        values: dict[str, float] = {
            **self._counters(),
            "episode/return": total,
            "episode/length": len(rows),
            "episode/reward_per_step": total / len(rows),
            "episode/policy_version": rows[-1].choice.version,
        }
        for key in rows[-1].arrival.log:
            values[f"log_{key}"] = sum(row.arrival.log[key] for row in rows) / len(rows)
            values[f"episode/final_{key}"] = rows[-1].arrival.log[key]
        self._metrics.write(self._steps, values, session=self._session)

    def _counters(self) -> dict[str, float]:
        return {"actor/control_steps": self._steps, "actor/robot_seconds": self._robot_s}
