"""One update after another, as many as the limiter allows; what went wrong is counted and kept.

    # on a GPU     host   launch 1 | launch 2 | read 1's flag   | launch 3 | read 2's flag
    #              GPU        1111111111111111111111122222222222222222222222222222

Whether an update was bad is read once the next one is launched, so that the GPU never runs dry.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
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

    @property
    def updates(self) -> int:
        """Done so far."""

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update from (B, T, ...); metrics, of which `bad` > 0 means that it was skipped."""

    def policy_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What does the task best."""

    def collector_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What ships: the same, unless exploring."""

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from state_dict()."""


class _Verdict(NamedTuple):
    """Whether an update was bad, on its way to the host; the batch it was done on."""

    bad: Tensor
    copied: torch.cuda.Event | None
    update: int
    batch: Mapping[str, Tensor]

    @classmethod
    def of(cls, bad: Tensor, update: int, batch: Mapping[str, Tensor]) -> _Verdict:
        """Send it on its way, into page-locked memory."""
        on_host = bad.to("cpu", non_blocking=True)
        stream = torch.cuda.current_stream(bad.device) if bad.is_cuda else None
        return cls(on_host, None if stream is None else stream.record_event(), update, batch)

    def is_bad(self) -> bool:
        """Waits for that update, and for none launched after it."""
        if self.copied is not None:
            self.copied.synchronize()
        return float(self.bad) > 0


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
        lag: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """evidence_dir: where the batch that ended the run is saved.

        lag: updates launched before the result of one is read; 1 on a GPU, see above.
        """
        self.agent, self.sampler, self.limiter = agent, sampler, limiter
        self.averages = Averages()
        self.bad_updates = 0  # in all
        self.bad_in_a_row = 0
        self.update_s = 0.0  # spent in updates, in all
        self.wait_s = 0.0  # spent waiting for batches, in all
        self._max_bad, self._evidence_dir, self._now = max_bad_updates, evidence_dir, now
        self._lag = lag
        self._unread: deque[_Verdict] = deque()

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
        bad = metrics.pop("bad")
        self.averages.add(metrics, bad)
        self._unread.append(_Verdict.of(bad, self.agent.updates, batch))
        self._read(self._lag)
        self.update_s += self._now() - started_s
        return True

    def dream(self) -> bool:
        """One update that no row has paid for; as update()."""
        done = self.update()
        if done:
            self.limiter.dreamed += 1
        return done

    def settle(self) -> None:
        """Count what the last updates came to. Raises TrainingError as update() does."""
        self._read(0)

    def _read(self, leave: int) -> None:
        while len(self._unread) > leave:
            verdict = self._unread.popleft()
            if verdict.is_bad():
                self._count_bad(verdict)
            else:
                self.bad_in_a_row = 0

    def _count_bad(self, verdict: _Verdict) -> None:
        self.bad_updates += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row == 1:
            log.warning(
                "update %d had a non-finite loss or gradient and was skipped", verdict.update
            )
        if self.bad_in_a_row < self._max_bad:
            return
        path = self._evidence_dir / f"bad_batch_{verdict.update}.npz"
        arrays = {name: x.numpy() for name, x in verdict.batch.items()}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
        raise TrainingError(
            f"{self.bad_in_a_row} updates in a row had non-finite losses or gradients "
            f"(learner.max_bad_updates={self._max_bad}). The last batch is in {path}. Look there "
            "for rows out of range, or lower the learning rates; the last checkpoint is intact."
        )
