from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from daydreamer.actor.recorder import Recorder
from daydreamer.wire.codec import decode_chunk, encode_chunk
from daydreamer.wire.rows import POLICY, Chunk
from robots.base import Arrival


def arrival(value: float, **flags: bool) -> Arrival:
    return Arrival(
        {"vector": np.full(2, value, np.float32)}, reward=value, log={"height": value}, **flags
    )


def record(recorder: Recorder, rows: int, last: bool = True) -> None:
    recorder.begin(arrival(0.0), 0.0)
    for i in range(1, rows):
        recorder.add(
            arrival(float(i), is_last=last and i == rows - 1),
            0.05 * i,
            np.full(2, i / 10, np.float32),
            version=i,
            who=POLICY,
        )


def test_an_episode_arrives_complete_and_in_order(
    recorder_factory: Callable[..., Recorder], fake_time: Any
) -> None:
    chunks: list[Chunk] = []
    record(recorder_factory(chunks, 3, fake_time.now), rows=8)
    assert [len(chunk) for chunk in chunks] == [3, 3, 2]
    assert [chunk.sequence for chunk in chunks] == [0, 1, 2]
    assert [chunk.first_row for chunk in chunks] == [0, 3, 6]
    rewards = np.concatenate([chunk.columns["reward"] for chunk in chunks])
    assert rewards.tolist() == list(range(8))
    is_last = np.concatenate([chunk.columns["is_last"] for chunk in chunks])
    assert is_last.tolist() == [False] * 7 + [True]


def test_the_first_row_has_no_action_no_reward_and_no_dt(
    recorder_factory: Callable[..., Recorder], fake_time: Any
) -> None:
    chunks: list[Chunk] = []
    recorder = recorder_factory(chunks, 3, fake_time.now)
    record(recorder, rows=2)
    record(recorder, rows=2)
    first = {name: column[0] for name, column in chunks[1].columns.items()}
    assert first["is_first"]
    assert first["action"].tolist() == [0, 0]
    assert first["reward"] == 0
    assert first["dt_s"] == 0
    assert first["policy_version"] == -1
    assert chunks[1].episode == 1


def test_an_interruption_ends_the_episode_without_being_terminal(
    recorder_factory: Callable[..., Recorder], fake_time: Any
) -> None:
    chunks: list[Chunk] = []
    recorder = recorder_factory(chunks, 3, fake_time.now)
    # Four rows: three were sent the moment the fourth arrived, which is held back.
    record(recorder, rows=4, last=False)
    assert [len(chunk) for chunk in chunks] == [3]
    recorder.interrupt()
    assert chunks[-1].columns["is_last"].tolist() == [True]
    assert not chunks[-1].columns["is_terminal"].any()
    recorder.interrupt()
    assert len(chunks) == 2


def test_a_chunk_leaves_when_its_oldest_row_is_old(
    recorder_factory: Callable[..., Recorder], fake_time: Any
) -> None:
    chunks: list[Chunk] = []
    recorder = recorder_factory(chunks, 100, fake_time.now, chunk_age_s=1.0)
    record(recorder, rows=3, last=False)
    assert chunks == []
    fake_time.now_s += 1.0
    recorder.add(arrival(9.0), 0.2, np.zeros(2, np.float32), version=1, who=POLICY)
    assert [len(chunk) for chunk in chunks] == [3]


def test_old_rows_leave_although_no_new_one_comes(
    recorder_factory: Callable[..., Recorder], fake_time: Any
) -> None:
    chunks: list[Chunk] = []
    recorder = recorder_factory(chunks, 100, fake_time.now, chunk_age_s=1.0)
    record(recorder, rows=3, last=False)
    assert recorder.rows == 3
    recorder.send_old()
    assert chunks == []
    fake_time.now_s += 1.0
    recorder.send_old()
    assert [len(chunk) for chunk in chunks] == [2]  # the newest is held back
    fake_time.now_s += 1.0
    recorder.send_old()
    assert len(chunks) == 1
    assert recorder.rows == 3


def test_chunks_do_not_change_after_they_were_sent(
    recorder_factory: Callable[..., Recorder], fake_time: Any
) -> None:
    chunks: list[Chunk] = []
    recorder = recorder_factory(chunks, 2, fake_time.now)
    record(recorder, rows=3)
    before = chunks[0].columns["reward"].copy()
    record(recorder, rows=6)
    np.testing.assert_array_equal(chunks[0].columns["reward"], before)


def test_every_chunk_passes_the_wire(
    recorder_factory: Callable[..., Recorder], fake_time: Any
) -> None:
    chunks: list[Chunk] = []
    record(recorder_factory(chunks, 3, fake_time.now), rows=8)
    for chunk in chunks:
        back = decode_chunk(encode_chunk(chunk))
        np.testing.assert_array_equal(back.columns["vector"], chunk.columns["vector"])
