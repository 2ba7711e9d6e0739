"""Newer windows more often: how much more, in which order, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from daydreamer.replay.recency import BLOCK
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk, Schema

Stream = Callable[..., Iterator[Chunk]]
DRAWS = 20_000


def drawn(replay: SequenceReplay, length: int, seed: int = 0) -> np.ndarray:
    """First rows (by their value) of many windows."""
    batch = replay.sample(np.random.default_rng(seed), DRAWS, length, ("reward",))
    np.testing.assert_array_equal(batch["reward"], batch["reward"][:, :1] + np.arange(length))
    starts: np.ndarray = batch["reward"][:, 0].astype(int)
    return starts


def memory(schema: Schema, recency: float, **options: object) -> SequenceReplay:
    return SequenceReplay(schema, 8000, recency=recency, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("recency", "newest"), [(2.0, 1 / 4), (3.0, 1 / 8)])
def test_half_of_the_draws_are_of_the_newest_part(
    schema: Schema, make_stream: Stream, recency: float, newest: float
) -> None:
    replay = memory(schema, recency)
    for chunk in make_stream("a", [[40] * 100]):
        replay.add(chunk)
    starts = drawn(replay, 1)
    assert np.mean(starts >= 4000 * (1 - newest)) == pytest.approx(0.5, abs=0.02)
    # Rank 4000 u^k < 1000 has the chance (1/4)^(1/k): the same law everywhere.
    assert np.mean(starts >= 3000) == pytest.approx(0.25 ** (1 / recency), abs=0.02)
    assert starts.min() < 200  # the oldest are not forgotten
    assert starts.max() == 3999


def test_every_window_can_be_drawn_and_none_that_is_not_whole(
    schema: Schema, make_stream: Stream
) -> None:
    replay = memory(schema, 2.0)
    for chunk in make_stream("a", [[BLOCK + 5]]):
        replay.add(chunk)
    for chunk in make_stream("b", [[BLOCK]], start=1000):
        replay.add(chunk)
    expected = {*range(BLOCK + 5 - 3), *range(1000, 1000 + BLOCK - 3)}
    assert set(drawn(replay, 4).tolist()) == expected


def test_age_is_by_arrival_whoever_collected(schema: Schema, make_stream: Stream) -> None:
    # Session z sorts behind session a, and arrived before it.
    replay = memory(schema, 3.0)
    for chunk in make_stream("z", [[100] * 10], start=5000):
        replay.add(chunk)
    for chunk in make_stream("a", [[100] * 10]):
        replay.add(chunk)
    starts = drawn(replay, 5)
    # The newer half has the chance 0.5^(1/3).
    assert np.mean(starts < 5000) == pytest.approx(0.794, abs=0.02)


def test_two_robots_are_drawn_by_turns(schema: Schema, make_stream: Stream) -> None:
    replay = memory(schema, 2.0)
    one, other = make_stream("a", [[40] * 50]), make_stream("b", [[40] * 50], start=5000)
    for pair in zip(one, other, strict=True):
        for chunk in pair:
            replay.add(chunk)
    # Of 100 chunks, newest first, every second one is a's: the sum of (j+1)^0.5 - j^0.5 over odd j,
    # in tenths. It is short of a half by what b, which sends last, has of the newest rows.
    expected = sum((j + 1) ** 0.5 - j**0.5 for j in range(1, 100, 2)) / 10
    assert np.mean(drawn(replay, 1) < 5000) == pytest.approx(expected, abs=0.01)
    assert expected == pytest.approx(0.463, abs=0.001)


def test_a_memory_refilled_after_a_restart_draws_the_same(
    schema: Schema, make_stream: Stream
) -> None:
    chunks = list(make_stream("a", [[40] * 30, [40] * 30]))
    long, fresh = (SequenceReplay(schema, 1000, recency=2.0) for _ in range(2))
    for chunk in chunks:
        long.add(chunk)
    for chunk in chunks[-25:]:  # what the first one still holds: 25 chunks of 40 rows
        fresh.add(chunk)
    assert len(long) == len(fresh) == 1000
    np.testing.assert_array_equal(drawn(long, 8), drawn(fresh, 8))


def test_windows_stay_within_episodes_where_that_is_asked_for(
    schema: Schema, make_stream: Stream
) -> None:
    replay = memory(schema, 2.0, cross_episodes=False)
    for chunk in make_stream("a", [[20], [20], [20]]):
        replay.add(chunk)
    starts = drawn(replay, 16)
    assert set(starts.tolist()) == {*range(5), *range(20, 25), *range(40, 45)}


@pytest.mark.parametrize(("recency", "ends_bonus"), [(0.5, False), (2.0, True)])
def test_what_makes_no_sense_is_refused(schema: Schema, recency: float, ends_bonus: bool) -> None:
    with pytest.raises(ValueError, match="recency"):
        memory(schema, recency, ends_bonus=ends_bonus)
