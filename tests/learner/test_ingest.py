from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from daydreamer.learner.ingest import Ingest
from daydreamer.replay.archive import Archive
from daydreamer.replay.held_out import HeldOut
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.rows import Chunk, Schema


def make_limiter() -> ReplayRatioLimiter:
    return ReplayRatioLimiter(1.0, 0, 8)


@pytest.fixture
def archive(tmp_path: Path, schema: Schema, chunk_factory: Callable[..., Chunk]) -> Archive:
    """Three chunks of eight rows."""
    archive = Archive(tmp_path / "replay", schema, "run")
    for sequence in range(3):
        chunk = chunk_factory(sequence)
        archive.append(chunk, encode_chunk(chunk))
    archive.commit()
    return archive


def test_a_restarted_learner_has_all_rows_again(archive: Archive, replay: SequenceReplay) -> None:
    limiter = make_limiter()
    ingest = Ingest(replay, limiter, in_turns=False)
    ingest.load(archive, rows_done=0)
    assert len(replay) == limiter.rows == 24
    assert ingest.rows_of == {"s": 24}
    assert ingest.control_steps == 21  # an episode's first row follows no control step
    archive.close()


def test_stored_chunks_are_used_at_once(
    replay: SequenceReplay, chunk_factory: Callable[..., Chunk]
) -> None:
    limiter = make_limiter()
    ingest = Ingest(replay, limiter, in_turns=False)
    ingest.store(chunk_factory(0))
    assert len(replay) == limiter.rows == ingest.rows_of["s"] == 8
    assert ingest.rows_of["another"] == 0


def test_in_lockstep_chunks_wait_for_their_turn(
    replay: SequenceReplay, chunk_factory: Callable[..., Chunk]
) -> None:
    limiter = make_limiter()
    ingest = Ingest(replay, limiter, in_turns=True)
    for sequence in range(2):
        ingest.store(chunk_factory(sequence))
    assert len(replay) == 0
    chunk = ingest.next_turn(0.1)
    assert chunk is not None
    assert (chunk.sequence, len(replay), limiter.rows) == (0, 8, 8)
    assert ingest.turns == {"s": 0}
    ingest.next_turn(0.1)
    assert ingest.next_turn(0.01) is None


def test_in_lockstep_rows_behind_the_checkpoint_get_their_turns_again(
    archive: Archive, replay: SequenceReplay
) -> None:
    ingest = Ingest(replay, make_limiter(), in_turns=True)
    ingest.load(archive, rows_done=8)
    assert len(replay) == 8
    assert ingest.control_steps == 21  # stored is stored, whoever has trained on it
    waiting = [ingest.next_turn(0.1), ingest.next_turn(0.1), ingest.next_turn(0.01)]
    assert [chunk and chunk.sequence for chunk in waiting] == [1, 2, None]
    archive.close()


def test_evicted_rows_still_count(
    tmp_path: Path, schema: Schema, chunk_factory: Callable[..., Chunk]
) -> None:
    with Archive(tmp_path / "small", schema, "run", capacity_rows=16) as archive:
        for sequence in range(10):
            chunk = chunk_factory(sequence)
            archive.append(chunk, encode_chunk(chunk))
            archive.commit()
        assert archive.summary().rows < 80
        limiter = make_limiter()
        ingest = Ingest(SequenceReplay(schema, 16), limiter, in_turns=False)
        ingest.load(archive, rows_done=0)
        assert limiter.rows == 80
        assert ingest.control_steps == 70


def test_sessions_that_were_evicted_altogether_still_count(
    tmp_path: Path, schema: Schema, chunk_factory: Callable[..., Chunk]
) -> None:
    with Archive(tmp_path / "small", schema, "run", capacity_rows=16) as archive:
        for session in ("a", "b"):
            for sequence in range(10):
                chunk = chunk_factory(sequence, session=session)
                archive.append(chunk, encode_chunk(chunk))
                archive.commit()
        assert archive.summary().sessions["a"].rows == 0
        ingest = Ingest(SequenceReplay(schema, 16), make_limiter(), in_turns=False)
        ingest.load(archive, rows_done=0)
        assert ingest.control_steps == 140


def test_held_out_rows_pay_for_updates_and_stay_out_of_the_training_memory(
    replay: SequenceReplay, chunk_factory: Callable[..., Chunk]
) -> None:
    limiter, held_out = make_limiter(), HeldOut(4)
    ingest = Ingest(replay, limiter, in_turns=False, held_out=held_out)
    for sequence in (0, 1, 2, 2, 3):
        ingest.store(chunk_factory(sequence))
    assert (len(replay), len(held_out), limiter.rows) == (24, 8, 32)
    assert ingest.turns == {"s": 3}


def test_a_restart_refills_both_memories_alike(
    archive: Archive, schema: Schema, chunk_factory: Callable[..., Chunk]
) -> None:
    def fill(rows_done: int | None) -> tuple[SequenceReplay, HeldOut]:
        """From the wire, or from the archive."""
        replay, held_out = SequenceReplay(schema, 16), HeldOut(2)
        ingest = Ingest(replay, make_limiter(), in_turns=False, held_out=held_out)
        if rows_done is None:
            for sequence in range(3):
                ingest.store(chunk_factory(sequence))
        else:
            ingest.load(archive, rows_done)
        return replay, held_out

    (before, held_before), (after, held_after) = fill(None), fill(24)
    assert len(before) == len(after) == 8  # of 16 newest rows, 8 are held out
    batches = [memory.sample(np.random.default_rng(0), 5, 4) for memory in (before, after)]
    assert all(np.array_equal(batches[0][key], batches[1][key]) for key in batches[0])
    windows = [memory.windows(3, 8, 2) for memory in (held_before, held_after)]
    assert windows[0] is not None
    assert windows[1] is not None
    assert np.array_equal(windows[0].columns["vector"], windows[1].columns["vector"])
    archive.close()


def test_dreamed_updates_survive_the_count_of_rows(
    archive: Archive, replay: SequenceReplay
) -> None:
    limiter = make_limiter()
    limiter.load_state_dict({"rows": 16, "dreamed": 3})
    Ingest(replay, limiter, in_turns=False).load(archive, rows_done=16)
    assert (limiter.rows, limiter.dreamed) == (24, 3)
    archive.close()
