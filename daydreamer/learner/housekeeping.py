"""What the training thread does between updates when due: publish, checkpoint, metrics, report."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from daydreamer.config import LearnerConfig
from daydreamer.learner.checkpoint import CheckpointError, Checkpoints
from daydreamer.learner.dreaming import Dreaming
from daydreamer.learner.ingest import Ingest
from daydreamer.learner.publisher import Publisher
from daydreamer.learner.reports import Reports
from daydreamer.learner.resume import freeze
from daydreamer.learner.trainer import Trainer
from daydreamer.telemetry.metrics import MetricsLog
from daydreamer.wire.server import PeerStatus

log = logging.getLogger(__name__)


class Housekeeping:
    """Looks at the clock after every update; none of it takes longer than a checkpoint."""

    def __init__(
        self,
        cfg: LearnerConfig,
        trainer: Trainer,
        ingest: Ingest,
        publisher: Publisher,
        checkpoints: Checkpoints,
        metrics: MetricsLog,
        reports: Reports,
        dreaming: Dreaming,
        peers: Callable[[], Mapping[str, PeerStatus]],
        has_trouble: Callable[[], bool],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cfg, self._trainer, self._ingest = cfg, trainer, ingest
        self._publisher, self._checkpoints, self._metrics = publisher, checkpoints, metrics
        self._reports, self._dreaming = reports, dreaming
        self._peers, self._now = peers, now
        self._has_trouble = has_trouble
        self._logged_s = self._saved_s = now()
        self._logged_updates = trainer.agent.updates
        self._logged_update_s = self._logged_wait_s = 0.0
        self._save_s = 0.0  # the last checkpoint took
        self._failed_saves = 0

    def after_update(self) -> None:
        """Whatever is due in a free-running learner."""
        if self._publisher.is_due(self._trainer.agent.updates):
            self._publisher.offer(self._cut(), self._trainer.agent.updates)
        self.keep_time()

    def keep_time(self) -> None:
        """Metrics, report and checkpoint, when due."""
        time_s = self._now()
        if time_s - self._logged_s >= self._cfg.log_every_s:
            self.write_metrics()
        self._reports.keep_time()
        if time_s - self._saved_s >= self._cfg.checkpoint_every_s:
            try:
                self.save()
            except CheckpointError as error:
                # The run is worth more than its checkpoint: the next attempt may succeed.
                self._failed_saves += 1
                log.error("training goes on without this checkpoint: %s", error)
            self._saved_s = self._now()

    def publish(self) -> int:
        """Publish the policy as it is, before returning; returns its version, -1 if untrained."""
        updates = self._trainer.agent.updates
        if updates > 0 and self._publisher.version != updates:
            self._publisher.publish_now(self._cut(), updates)
        return self._publisher.version

    def _cut(self) -> dict[str, NDArray[np.float32]]:
        """Policy weights as they are now: copies, for training goes on while they are packed."""
        return {name: x.copy() for name, x in self._trainer.agent.collector_arrays().items()}

    def save(self) -> None:
        """Write a checkpoint. Raises CheckpointError."""
        updates = self._trainer.agent.updates
        if updates == 0:
            return
        start_s = self._now()
        self._checkpoints.save(updates, freeze(self._trainer), self._trainer.agent.policy_arrays())
        self._saved_s = self._now()
        self._save_s = self._saved_s - start_s

    def write_metrics(self) -> None:
        """One line: what training came to since the last one, and where the run stands."""
        trainer, time_s = self._trainer, self._now()
        updates, rows = trainer.agent.updates, trainer.limiter.rows
        new = updates - self._logged_updates
        passed_s = max(time_s - self._logged_s, 1e-9)
        peers = self._peers()
        values = {
            **trainer.averages.take(),
            "learner/updates": updates,
            "learner/version": self._publisher.version,
            "learner/rows": rows,
            "learner/control_steps": self._ingest.control_steps,
            "learner/replay_ratio": updates * trainer.limiter.batch_rows / max(rows, 1),
            "learner/dreaming": self._dreaming.is_dreaming,
            "learner/dreamed_updates": trainer.limiter.dreamed,
            "learner/updates_per_s": new / passed_s,
            "learner/update_share": (trainer.update_s - self._logged_update_s) / passed_s,
            "learner/batch_wait_share": (trainer.wait_s - self._logged_wait_s) / passed_s,
            "learner/threads": torch.get_num_threads(),
            "learner/bad_updates": trainer.bad_updates,
            "learner/checkpoint_s": self._save_s,
            "learner/failed_checkpoints": self._failed_saves,
            "learner/trouble": self._has_trouble(),
            "learner/actors": sum(peer.connected for peer in peers.values()),
            "learner/duplicates": sum(peer.duplicates for peer in peers.values()),
            "learner/malformed": sum(peer.malformed for peer in peers.values()),
        }
        if new:
            values["learner/update_s"] = (trainer.update_s - self._logged_update_s) / new
        self._metrics.write(updates, values)
        self._logged_s, self._logged_updates = time_s, updates
        self._logged_update_s, self._logged_wait_s = trainer.update_s, trainer.wait_s
