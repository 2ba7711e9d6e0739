"""One update after another, as many as the limiter allows; what went wrong is counted and kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from daydreamer.learner.averages import Averages
from daydreamer.learner.sampler import Sampler
from daydreamer.replay.limiter import ReplayRatioLimiter

log = logging.getLogger(__name__)

BATCH_WAIT_S = 0.2


class TrainingError(RuntimeError):
    """Training cannot go on. Says what was found, where the evidence is, and what to do."""


class TrainableAgent(Protocol):
    """The part of agents.agent.Agent that training needs."""

    updates: int

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update from (B, T, ...); metrics, of which `bad` > 0 means that it was skipped."""

    def policy_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What ships."""

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from state_dict()."""


class Trainer:
    """Agent, batches and limiter, put together."""

    def __init__(
        self,
        agent: TrainableAgent,
        sampler: Sampler,
        limiter: ReplayRatioLimiter,
        *,
        max_bad_updates: int,
        evidence_dir: Path,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """evidence_dir: where the batch that ended the run is saved."""
        self.agent, self.sampler, self.limiter = agent, sampler, limiter
        self.averages = Averages()
        self.bad_updates = 0  # in all
        self.bad_in_a_row = 0
        self.update_s = 0.0  # spent in updates, in all
        self.wait_s = 0.0  # spent waiting for batches, in all
        self._max_bad, self._evidence_dir, self._now = max_bad_updates, evidence_dir, now

    def is_allowed(self) -> bool:
        """Whether the replay ratio leaves room for an update."""
        return self.limiter.updates_allowed(self.agent.updates) > 0

    def update(self) -> bool:
        """One update; False: no batch yet. Raises TrainingError after too many bad updates."""
        asked_s = self._now()
        batch = self.sampler.next_batch(BATCH_WAIT_S)
        started_s = self._now()
        self.wait_s += started_s - asked_s
        if batch is None:
            return False
        metrics = self.agent.update(batch)
        if float(metrics.pop("bad", 0.0)) > 0:
            self._count_bad(batch)
        else:
            self.bad_in_a_row = 0
            self.averages.add(metrics)
        self.update_s += self._now() - started_s
        return True

    def _count_bad(self, batch: Mapping[str, Tensor]) -> None:
        self.bad_updates += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row == 1:
            log.warning(
                "update %d had a non-finite loss or gradient and was skipped", self.agent.updates
            )
        if self.bad_in_a_row < self._max_bad:
            return
        path = self._evidence_dir / f"bad_batch_{self.agent.updates}.npz"
        np.savez_compressed(path, **{name: x.numpy() for name, x in batch.items()})  # type: ignore[arg-type]
        raise TrainingError(
            f"{self.bad_in_a_row} updates in a row had non-finite losses or gradients "
            f"(learner.max_bad_updates={self._max_bad}). The last batch is in {path}. Look there "
            "for rows out of range, or lower the learning rates; the last checkpoint is intact."
        )
