from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daydreamer.agents.agent import Agent
from daydreamer.learner.resume import freeze
from daydreamer.learner.sampler import DirectSampler, PrefetchSampler
from daydreamer.learner.trainer import Trainer, TrainingError
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk


def make_trainer(
    agent: Any, replay: SequenceReplay, folder: Path, prefill: int = 16, lag: int = 0
) -> Trainer:
    return Trainer(
        agent,
        DirectSampler(replay, ("vector",), batch=2, length=4, seed=0),
        ReplayRatioLimiter(1.0, prefill, 8),
        max_bad_updates=3,
        evidence_dir=folder,
        lag=lag,
    )


@pytest.fixture
def filled(replay: SequenceReplay, chunk_factory: Callable[..., Chunk]) -> SequenceReplay:
    for sequence in range(4):
        replay.add(chunk_factory(sequence))
    return replay


def test_updates_follow_the_rows_at_the_replay_ratio(
    stub_agent: Any, filled: SequenceReplay, tmp_path: Path
) -> None:
    trainer = make_trainer(stub_agent, filled, tmp_path)
    trainer.limiter.rows_collected(32)
    while trainer.is_allowed():
        assert trainer.update()
    assert stub_agent.updates == 2  # (32 - 16) rows, 8 rows an update


def test_batches_have_what_an_update_reads_and_no_more(
    stub_agent: Any, filled: SequenceReplay, tmp_path: Path
) -> None:
    make_trainer(stub_agent, filled, tmp_path).update()
    (batch,) = stub_agent.batches
    shapes = {name: tuple(tensor.shape) for name, tensor in batch.items()}
    assert shapes == {
        "vector": (2, 4, 3),
        "action": (2, 4, 2),
        "reward": (2, 4),
        "is_first": (2, 4),
        "is_last": (2, 4),
        "is_terminal": (2, 4),
    }


def test_one_line_of_metrics_holds_updates_that_explored_and_updates_that_did_not(
    agent_factory: Callable[..., Agent], filled: SequenceReplay, tmp_path: Path
) -> None:
    trainer = make_trainer(agent_factory(explore_updates=2), filled, tmp_path)
    for _ in range(4):
        assert trainer.update()
    found = trainer.averages.take()
    assert {"model/loss", "explore/disagreement", "explore_actor/grad_norm"} <= found.keys()
    assert all(np.isfinite(x) for x in found.values())
    assert trainer.update()
    assert not any(name.startswith("explore") for name in trainer.averages.take())


def test_there_is_no_update_without_a_window(
    stub_agent: Any, replay: SequenceReplay, tmp_path: Path
) -> None:
    assert not make_trainer(stub_agent, replay, tmp_path).update()
    assert stub_agent.updates == 0


def test_bad_updates_are_counted_and_left_out_of_the_averages(
    stub_agent: Any, filled: SequenceReplay, tmp_path: Path
) -> None:
    trainer = make_trainer(stub_agent, filled, tmp_path)
    stub_agent.bad = 2
    for _ in range(4):
        trainer.update()
    assert (trainer.bad_updates, trainer.bad_in_a_row) == (2, 0)
    assert trainer.averages.take() == {"model/loss": 3.5}  # of updates 3 and 4
    assert trainer.averages.take() == {}


def test_too_many_bad_updates_in_a_row_end_the_run_with_the_batch_saved(
    stub_agent: Any, filled: SequenceReplay, tmp_path: Path
) -> None:
    trainer = make_trainer(stub_agent, filled, tmp_path)
    stub_agent.bad = 9
    for _ in range(2):
        trainer.update()
    with pytest.raises(TrainingError, match="3 updates in a row"):
        trainer.update()
    with np.load(tmp_path / "bad_batch_3.npz") as saved:
        np.testing.assert_array_equal(saved["reward"], stub_agent.batches[-1]["reward"])


def test_with_a_lag_an_update_is_judged_once_the_next_one_is_launched(
    stub_agent: Any, filled: SequenceReplay, tmp_path: Path
) -> None:
    trainer = make_trainer(stub_agent, filled, tmp_path, lag=1)
    stub_agent.bad = 3
    for _ in range(3):
        trainer.update()
    assert trainer.bad_in_a_row == 2  # of three, the third is not yet read
    with pytest.raises(TrainingError, match="3 updates in a row"):
        trainer.update()
    # The batch that was bad, not the one launched meanwhile.
    with np.load(tmp_path / "bad_batch_3.npz") as saved:
        np.testing.assert_array_equal(saved["reward"], stub_agent.batches[2]["reward"])


def test_a_checkpoint_counts_the_last_bad_update(
    stub_agent: Any, filled: SequenceReplay, tmp_path: Path
) -> None:
    trainer = make_trainer(stub_agent, filled, tmp_path, lag=1)
    stub_agent.bad = 1
    trainer.update()
    assert trainer.bad_updates == 0
    assert freeze(trainer)["bad_updates"] == 1


def test_drawing_ahead_gives_the_same_batches_as_drawing_on_demand(filled: SequenceReplay) -> None:
    def direct() -> DirectSampler:
        return DirectSampler(filled, ("vector",), batch=2, length=4, seed=5)

    on_demand, ahead = direct(), PrefetchSampler(direct())
    try:
        for _ in range(5):
            one, other = on_demand.next_batch(5.0), ahead.next_batch(5.0)
            assert one is not None
            assert other is not None
            assert one["reward"].tolist() == other["reward"].tolist()
        # What lies ready, untaken, is drawn again by a resumed run.
        assert ahead.state() == on_demand.state()
    finally:
        ahead.close()
