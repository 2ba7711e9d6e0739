from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from daydreamer.actor.progress import Progress
from daydreamer.actor.recorder import Recorder
from daydreamer.wire.journal import Journal
from daydreamer.wire.rows import POLICY, Chunk
from robots.base import Arrival


@pytest.fixture
def journal(tmp_path: Path, recorder_factory: Callable[..., Recorder], fake_time: Any) -> Journal:
    """Chunks of 4, 4 and 2 rows; the first row of all follows no control step."""
    chunks: list[Chunk] = []
    recorder = recorder_factory(chunks, 4, fake_time.now)
    arrival = Arrival({"vector": np.zeros(2, np.float32)}, 0.0, log={"height": 0.0})
    recorder.begin(arrival, 0.0)
    for _ in range(9):
        recorder.add(arrival, 1.0, np.zeros(2, np.float32), version=1, who=POLICY)
    recorder.interrupt()
    journal = Journal(tmp_path, fsync=False)
    for chunk in chunks:
        journal.append(chunk)
    return journal


def status(run: str | None, steps: int = 0, **high_water: int) -> Any:
    return SimpleNamespace(run=run, start_step_count=steps, high_water=high_water)


def test_without_a_learner_the_journal_counts(journal: Journal) -> None:
    progress = Progress(100, journal)
    assert not progress.heard(status(None))
    assert progress.total(5) == 9 + 5


def test_chunks_that_the_learner_has_count_once(journal: Journal) -> None:
    progress = Progress(100, journal)
    # It has 50 steps, the first chunk of the journal's (3 steps) among them: its Ack was lost.
    assert progress.heard(status("run", 50, s=0))
    assert progress.total(5) == 50 + 6 + 5


def test_a_learner_that_comes_back_is_not_counted_again(journal: Journal) -> None:
    progress = Progress(100, journal)
    progress.heard(status("run", 50, s=2))
    progress.heard(status("run", 80, s=2))
    assert progress.total(0) == 50


def test_a_run_is_over_at_its_steps_and_never_at_0(journal: Journal) -> None:
    assert Progress(10, journal).is_reached(1)
    assert not Progress(10, journal).is_reached(0)
    assert not Progress(0, journal).is_reached(10**9)
