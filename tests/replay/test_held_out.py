"""Which episodes stay out of training, and the windows that are cut from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from daydreamer.replay.held_out import HeldOut
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk, Schema


@pytest.fixture
def episode(make_chunk: Callable[..., Chunk]) -> Callable[..., list[Chunk]]:
    """An episode as chunks of up to four rows; row i of it holds value + i."""

    def build(number: int, rows: int, value: float, session: str, sequence: int) -> list[Chunk]:
        return [
            make_chunk(
                session,
                sequence + first // 4,
                rows=min(4, rows - first),
                value=value + first,
                episode=number,
                first_row=first,
                last=first + 4 >= rows,
            )
            for first in range(0, rows, 4)
        ]

    return build


def test_every_twentieth_episode_is_held_out_from_the_eleventh_on(
    make_chunk: Callable[..., Chunk],
) -> None:
    held_out = HeldOut(20)
    wanted = [number for number in range(60) if held_out.wants(make_chunk(episode=number))]
    assert wanted == [10, 30, 50]
    assert not any(HeldOut(0).wants(make_chunk(episode=number)) for number in range(60))
    with pytest.raises(ValueError, match="every 1th episode"):
        HeldOut(1)


def test_an_episode_without_end_is_held_out_for_its_first_thousand_rows(
    schema: Schema, make_chunk: Callable[..., Chunk]
) -> None:
    held_out, replay = HeldOut(20), SequenceReplay(schema, 4000)
    for sequence, first_row in enumerate(range(0, 1500, 50)):
        chunk = make_chunk("s", sequence, rows=50, episode=10, first_row=first_row)
        if held_out.wants(chunk):
            held_out.add(chunk)
            replay.pass_over(len(chunk))
        else:
            replay.add(chunk)
    assert (len(held_out), len(replay)) == (1000, 500)
    assert replay.can_sample(500)


def test_windows_are_cut_from_the_end_of_the_newest_episodes(
    episode: Callable[..., list[Chunk]],
) -> None:
    held_out = HeldOut(2)
    for chunk in [*episode(1, 9, 100, "s0", 0), *episode(3, 10, 200, "s0", 10)]:
        assert held_out.add(chunk)
    found = held_out.windows(count=10, most=4, least=2)
    assert found is not None
    rewards = [
        row[:n].tolist() for row, n in zip(found.columns["reward"], found.length, strict=True)
    ]
    assert rewards == [
        [206, 207, 208, 209], [202, 203, 204, 205], [200, 201],
        [105, 106, 107, 108], [101, 102, 103, 104],
    ]  # fmt: skip
    assert found.columns["vector"].shape == (5, 4, 3)
    assert found.columns["reward"][2].tolist() == [200, 201, 0, 0]
    assert found.columns["is_first"][:, 0].all()
    assert not found.columns["is_first"][:, 1:].any()
    fewer = held_out.windows(count=2, most=4, least=2)
    assert fewer is not None
    assert fewer.columns["reward"][:, 0].tolist() == [206, 202]
    assert held_out.windows(count=2, most=20, least=11) is None
    assert HeldOut(2).windows(count=2, most=4, least=2) is None


def test_windows_never_span_a_missing_chunk_or_two_robots(
    episode: Callable[..., list[Chunk]],
) -> None:
    held_out = HeldOut(2)
    broken = episode(1, 12, 100, "s0", 0)
    other = episode(1, 8, 500, "s1", 0)
    for chunk in (broken[0], other[0], broken[2], other[1]):  # broken[1] is lost
        held_out.add(chunk)
    found = held_out.windows(count=10, most=100, least=2)
    assert found is not None
    firsts = sorted(
        (row[0].item(), n.item())
        for row, n in zip(found.columns["reward"], found.length, strict=True)
    )
    assert firsts == [(100, 4), (108, 4), (500, 8)]


def test_a_chunk_that_comes_again_is_not_kept_twice(
    episode: Callable[..., list[Chunk]],
) -> None:
    held_out = HeldOut(2)
    (chunk,) = episode(1, 4, 0, "s0", 0)
    assert held_out.add(chunk)
    assert not held_out.add(chunk)
    assert len(held_out) == 4


def test_what_came_first_leaves_first_whoever_sent_it(episode: Callable[..., list[Chunk]]) -> None:
    held_out = HeldOut(2, capacity_rows=8)
    one, other = episode(1, 8, 100, "s0", 0), episode(1, 8, 500, "s1", 0)
    for chunk in (one[0], other[0], one[1], other[1]):
        held_out.add(chunk)
    found = held_out.windows(count=10, most=100, least=1)
    assert found is not None
    assert sorted(found.columns["reward"][:, 0].tolist()) == [104, 504]


def test_the_oldest_rows_leave_first_even_those_of_a_running_episode(
    episode: Callable[..., list[Chunk]],
) -> None:
    held_out = HeldOut(2, capacity_rows=8)
    running, other = episode(1, 12, 100, "s0", 0), episode(1, 8, 500, "s1", 0)
    for chunk in (running[0], *other, running[1], running[2]):
        held_out.add(chunk)
    assert len(held_out) == 8
    found = held_out.windows(count=10, most=100, least=1)
    assert found is not None
    # Of s0, whose piece was the oldest, the start is gone; its rest is a piece of its own.
    assert sorted(found.columns["reward"][:, 0].tolist()) == [104]
    assert found.length.tolist() == [8]


def test_spread_is_the_variance_over_rows_of_each_number(
    episode: Callable[..., list[Chunk]],
) -> None:
    held_out = HeldOut(2)
    assert held_out.spread("vector") == 0
    for chunk in episode(1, 8, 3, "s0", 0):
        held_out.add(chunk)
    # 4 .. 10 in each of three numbers, the first row left out: variance (7^2 - 1) / 12
    assert held_out.spread("vector") == pytest.approx(4)
    assert held_out.spread("reward") == pytest.approx(4)


def test_spread_of_many_rows_is_taken_from_evenly_spaced_ones(
    episode: Callable[..., list[Chunk]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daydreamer.replay.held_out.SPREAD_ROWS", 4)
    held_out = HeldOut(2)
    for chunk in episode(1, 10, 0, "s0", 0):
        held_out.add(chunk)
    # Every third: 0, 3, 6, 9, of which 0 is a first row
    assert held_out.spread("reward") == pytest.approx(np.var([3, 6, 9]))


def test_no_window_of_the_training_memory_runs_across_a_hole(
    schema: Schema, episode: Callable[..., list[Chunk]]
) -> None:
    replay, held_out = SequenceReplay(schema, 100), HeldOut(4)
    sequence = 0
    for number in range(6):  # 2 is held out
        for chunk in episode(number, 8, 100 * number, "s0", sequence):
            sequence += 1
            if held_out.wants(chunk):
                held_out.add(chunk)
                replay.pass_over(len(chunk))
            else:
                replay.add(chunk)
    assert (len(replay), len(held_out)) == (40, 8)
    batch = replay.sample(np.random.default_rng(0), 400, 6)
    before, after = batch["reward"].min(1) < 200, batch["reward"].max(1) >= 300
    assert before.any()
    assert after.any()
    assert not (before & after).any()
    assert (batch["reward"] // 100 != 2).all()


def test_the_training_memory_is_the_newest_rows_whatever_is_held_out(
    schema: Schema, episode: Callable[..., list[Chunk]]
) -> None:
    # As the archive keeps them: else a restart would change what is trained on.
    replay = SequenceReplay(schema, 16)
    replay.add(episode(0, 4, 0, "s0", 0)[0])
    replay.add(episode(1, 4, 100, "s0", 1)[0])
    replay.pass_over(12)
    assert len(replay) == 4
    assert replay.sample(np.random.default_rng(0), 1, 4)["reward"].tolist() == [
        [100, 101, 102, 103]
    ]
    replay.add(episode(3, 4, 300, "s0", 5)[0])
    assert len(replay) == 4
    assert replay.sample(np.random.default_rng(0), 1, 4)["reward"].tolist() == [
        [300, 301, 302, 303]
    ]
    for number in range(4, 8):
        replay.add(episode(number, 4, 100 * number, "s0", 2 + number)[0])
    assert len(replay) == 16
