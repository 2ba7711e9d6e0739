from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk, Column, Schema, make_schema

Stream = Callable[..., Iterator[Chunk]]
DRAWS = 4000


def starts(replay: SequenceReplay, length: int, seed: int = 0, draws: int = DRAWS) -> Counter[int]:
    """How often each row (by its value) was the first of a window."""
    batch = replay.sample(np.random.default_rng(seed), draws, length)
    return Counter(batch["reward"][:, 0].astype(int).tolist())


def test_window_holds_consecutive_rows_of_every_column(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 100)
    for chunk in make_stream("a", [[3, 4, 3], [5, 5]]):
        replay.add(chunk)
    batch = replay.sample(np.random.default_rng(0), 50, 6)
    assert set(batch) == {name for name in schema if not name.startswith("log_")}
    for name, array in batch.items():
        assert array.shape == (50, 6, *schema[name].shape)
        assert array.dtype == schema[name].dtype
    first = batch["reward"][:, :1]
    np.testing.assert_array_equal(batch["reward"], first + np.arange(6))
    np.testing.assert_array_equal(batch["vector"], np.repeat(batch["reward"][..., None], 3, axis=2))
    np.testing.assert_array_equal(batch["time_s"], batch["reward"].astype(np.float64))


def test_is_first_is_set_at_the_window_start_and_at_borders_only(
    schema: Schema, make_stream: Stream
) -> None:
    replay = SequenceReplay(schema, 100)
    for chunk in make_stream("a", [[5, 5], [5, 5]]):
        replay.add(chunk)
    batch = replay.sample(np.random.default_rng(0), 200, 8)
    assert batch["is_first"][:, 0].all()
    np.testing.assert_array_equal(batch["is_first"][:, 1:], batch["reward"][:, 1:] == 10)


def test_marking_the_window_start_leaves_the_stored_rows_alone(
    schema: Schema, make_stream: Stream
) -> None:
    replay = SequenceReplay(schema, 100)
    for chunk in make_stream("a", [[10]]):
        replay.add(chunk)
    replay.sample(np.random.default_rng(0), 100, 4)
    batch = replay.sample(np.random.default_rng(0), 100, 4)
    assert not batch["is_first"][:, 1:].any()


def test_log_columns_come_when_asked_for(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 100)
    for chunk in make_stream("a", [[10]]):
        replay.add(chunk)
    batch = replay.sample(np.random.default_rng(0), 2, 3, columns=("reward", "log_height"))
    assert list(batch) == ["reward", "log_height"]
    np.testing.assert_array_equal(batch["reward"], batch["log_height"])


def test_images_stay_uint8(make_stream: Stream) -> None:
    schema = make_schema({"image": Column("uint8", (4, 4, 3))}, 2, ())
    replay = SequenceReplay(schema, 20)
    for chunk in make_stream("a", [[10]], schema=schema):
        replay.add(chunk)
    image = replay.sample(np.random.default_rng(0), 2, 3)["image"]
    assert image.dtype == np.uint8
    assert image.shape == (2, 3, 4, 4, 3)


def test_starts_are_uniform_over_all_windows_of_all_sessions(
    schema: Schema, make_stream: Stream
) -> None:
    replay = SequenceReplay(schema, 100)
    for chunk in make_stream("a", [[4, 4], [4]]):
        replay.add(chunk)
    for chunk in make_stream("b", [[7]], start=50):
        replay.add(chunk)
    counts = starts(replay, length=5)
    # a: 12 rows, starts 0..7; b: 7 rows, starts 50..52. 11 windows, 364 draws each expected.
    assert set(counts) == {*range(8), 50, 51, 52}
    assert max(abs(n - DRAWS / 11) for n in counts.values()) < 5 * np.sqrt(DRAWS / 11)


def test_windows_stay_within_episodes_when_asked_to(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 100, cross_episodes=False)
    for chunk in make_stream("a", [[4, 4], [3], [6]]):
        replay.add(chunk)
    counts = starts(replay, length=5)
    # Episodes begin at 0, 8, 11 and have 8, 3, 6 rows: starts 0..3 and 11, 12.
    assert set(counts) == {0, 1, 2, 3, 11, 12}
    assert max(abs(n - DRAWS / 6) for n in counts.values()) < 5 * np.sqrt(DRAWS / 6)


def test_ends_bonus_gives_the_last_window_its_stated_share(
    schema: Schema, make_stream: Stream
) -> None:
    replay = SequenceReplay(schema, 100, ends_bonus=True)
    for chunk in make_stream("a", [[6, 4], [3], [6]]):
        replay.add(chunk)
    counts = starts(replay, length=4)
    # Two episodes are long enough, half the draws each, whatever their lengths.
    # 10 rows: start drawn from 0..10, clipped to 6: starts 0..5 have 1/11 each, 6 has 5/11.
    # 6 rows: start drawn from 0..6, clipped to 2: starts 0, 1 have 1/7 each, 2 has 5/7.
    expected = {start: 1 / 22 for start in range(6)} | {6: 5 / 22}
    expected |= {13: 1 / 14, 14: 1 / 14, 15: 5 / 14}
    assert set(counts) == set(expected)
    for start, share in expected.items():
        assert abs(counts[start] / DRAWS - share) < 5 * np.sqrt(share / DRAWS)


def test_ends_bonus_counts_a_running_episode_as_it_is(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 100, ends_bonus=True)
    chunks = list(make_stream("a", [[4, 4, 4]]))
    for chunk in chunks[:2]:
        replay.add(chunk)
    assert set(starts(replay, length=8)) == {0}


def test_window_never_crosses_a_missing_chunk(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 100)
    for chunk in make_stream("a", [[4, 4, 4, 4]]):
        if chunk.sequence != 1:
            replay.add(chunk)
    assert set(starts(replay, length=4)) == {0, 8, 9, 10, 11, 12}


def test_window_never_crosses_missing_rows(
    schema: Schema, make_chunk: Callable[..., Chunk]
) -> None:
    replay = SequenceReplay(schema, 100)
    replay.add(make_chunk("a", 0, rows=4))
    replay.add(make_chunk("a", 1, rows=4, value=10, first_row=5))  # row 4 is missing
    assert set(starts(replay, length=3)) == {0, 1, 10, 11}


def test_window_never_crosses_into_an_episode_whose_beginning_is_missing(
    schema: Schema, make_chunk: Callable[..., Chunk]
) -> None:
    replay = SequenceReplay(schema, 100)
    replay.add(make_chunk("a", 0, rows=4, last=True))
    replay.add(make_chunk("a", 1, rows=4, value=10, episode=1, first_row=2))
    assert set(starts(replay, length=4)) == {0, 10}


def test_window_never_crosses_an_end_that_no_beginning_follows(
    schema: Schema, make_chunk: Callable[..., Chunk]
) -> None:
    replay = SequenceReplay(schema, 100)
    chunk = make_chunk("a", 0, rows=8)
    chunk.columns["is_last"][3] = True
    replay.add(chunk)
    replay.add(make_chunk("a", 1, rows=4, value=8, first_row=8, last=True))
    replay.add(make_chunk("a", 2, rows=4, value=12, first_row=12))
    assert set(starts(replay, length=4)) == {0, 4, 5, 6, 7, 8, 12}


def test_window_crosses_an_episode_cut_short_because_its_successor_is_marked(
    schema: Schema, make_chunk: Callable[..., Chunk]
) -> None:
    replay = SequenceReplay(schema, 100)
    replay.add(make_chunk("a", 0, rows=4))
    replay.add(make_chunk("a", 1, rows=4, value=4, episode=1))
    assert set(starts(replay, length=5)) == {0, 1, 2, 3}
    batch = replay.sample(np.random.default_rng(0), 100, 5)
    np.testing.assert_array_equal(batch["is_first"][:, 1:], batch["reward"][:, 1:] == 4)


def test_interleaved_sessions_are_kept_apart(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 100)
    streams = [make_stream(s, [[3, 3, 3]], start=100 * i) for i, s in enumerate("abc")]
    for chunks in zip(*streams, strict=True):
        for chunk in chunks:
            replay.add(chunk)
    assert set(starts(replay, length=9)) == {0, 100, 200}


def test_oldest_chunks_make_room(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 10)
    for chunk in make_stream("a", [[4, 4, 4], [4]]):
        replay.add(chunk)
    assert len(replay) == 8
    assert set(starts(replay, length=3)) == {8, 9, 10, 11, 12, 13}


def test_episode_that_lost_its_head_still_ends_where_it_ends(
    schema: Schema, make_stream: Stream
) -> None:
    replay = SequenceReplay(schema, 10, cross_episodes=False)
    for chunk in make_stream("a", [[4, 4], [3]]):
        replay.add(chunk)
    assert set(starts(replay, length=3)) == {4, 5, 8}


def test_same_seed_and_rows_draw_the_same_windows(schema: Schema, make_stream: Stream) -> None:
    first, second = SequenceReplay(schema, 50), SequenceReplay(schema, 50)
    for chunk in make_stream("a", [[5] * 6]):
        first.add(chunk)
        second.add(chunk)
    for length in (4, 7):
        left = first.sample(np.random.default_rng(3), 20, length)
        right = second.sample(np.random.default_rng(3), 20, length)
        np.testing.assert_array_equal(left["reward"], right["reward"])


def test_refilled_memory_draws_what_the_first_one_would_have(
    schema: Schema, make_stream: Stream
) -> None:
    """After a restart the archive may hold less history than the memory has seen."""
    chunks = []
    for pair in zip(
        make_stream("b", [[3, 4], [2, 5], [4, 4]]),
        make_stream("a", [[4], [6, 3], [2, 5, 3]], start=100),
        strict=True,
    ):
        chunks += pair
    through, refilled = SequenceReplay(schema, 20), SequenceReplay(schema, 20)
    for chunk in chunks:
        through.add(chunk)
    for chunk in chunks[5:]:
        refilled.add(chunk)
    assert len(refilled) == len(through)
    left = through.sample(np.random.default_rng(0), 100, 3)
    right = refilled.sample(np.random.default_rng(0), 100, 3)
    np.testing.assert_array_equal(left["reward"], right["reward"])


def test_chunk_seen_before_changes_nothing(schema: Schema, make_stream: Stream) -> None:
    replay = SequenceReplay(schema, 50)
    chunks = list(make_stream("a", [[5, 5]]))
    assert [replay.add(chunk) for chunk in (*chunks, *chunks)] == [True, True, False, False]
    assert len(replay) == 10
    assert set(starts(replay, length=10)) == {0}


def test_can_sample_tells_whether_a_window_is_long_enough(
    schema: Schema, make_stream: Stream
) -> None:
    replay = SequenceReplay(schema, 50)
    assert not replay.can_sample(1)
    for chunk in make_stream("a", [[5, 5]]):
        replay.add(chunk)
    assert replay.can_sample(10)
    assert not replay.can_sample(11)
    with pytest.raises(ValueError, match="no window of 11 rows among 10 rows held"):
        replay.sample(np.random.default_rng(0), 1, 11)


def test_misuse_is_refused_with_advice(schema: Schema, make_chunk: Callable[..., Chunk]) -> None:
    replay = SequenceReplay(schema, 10)
    with pytest.raises(ValueError, match=r"11 rows does not fit a replay of 10: raise"):
        replay.add(make_chunk(rows=11))
    other = make_schema({"vector": Column("float32", (3,))}, 2, ("speed",))
    with pytest.raises(ValueError, match=r"log_height.*log_speed"):
        replay.add(make_chunk(schema=other))
    with pytest.raises(ValueError, match="capacity is 0"):
        SequenceReplay(schema, 0)
    with pytest.raises(ValueError, match="length is 0"):
        replay.can_sample(0)
    assert len(replay) == 0


def test_sampling_while_another_thread_adds_sees_whole_windows(
    schema: Schema, make_stream: Stream
) -> None:
    replay = SequenceReplay(schema, 64)
    chunks = list(make_stream("a", [[5] * 10] * 40))
    for chunk in chunks[:10]:
        replay.add(chunk)
    adder = threading.Thread(target=lambda: [replay.add(chunk) for chunk in chunks[10:]])
    adder.start()
    rng = np.random.default_rng(0)
    while adder.is_alive():
        reward = replay.sample(rng, 16, 8)["reward"]
        np.testing.assert_array_equal(reward, reward[:, :1] + np.arange(8))
    adder.join(timeout=10)


@st.composite
def bad_days(draw: st.DrawFn) -> list[tuple[str, list[list[int]], set[int]]]:
    """Sessions with random episodes and some chunks that never arrive."""
    sizes = st.lists(st.integers(1, 6), min_size=1, max_size=4)
    sessions = []
    for name in "abc"[: draw(st.integers(1, 3))]:
        episodes = draw(st.lists(sizes, min_size=1, max_size=5))
        count = sum(map(len, episodes))
        sessions.append((name, episodes, draw(st.sets(st.integers(0, count - 1), max_size=3))))
    return sessions


@settings(max_examples=60, deadline=None)
@given(bad_days(), st.integers(6, 60), st.integers(1, 7), st.booleans(), st.randoms())
def test_windows_are_exactly_those_that_follow_from_the_rows_held(
    schema: Schema, make_stream: Stream, days, capacity, length, cross, random
) -> None:
    """Against a plain list of rows: every valid window can be drawn, and no other."""
    replay = SequenceReplay(schema, capacity, cross_episodes=cross)
    waiting = {
        name: [c for c in make_stream(name, eps, start=1000 * i) if c.sequence not in lost]
        for i, (name, eps, lost) in enumerate(days)
    }
    held: list[Chunk] = []
    while any(waiting.values()):
        chunk = waiting[random.choice([n for n, c in waiting.items() if c])].pop(0)
        replay.add(chunk)
        held.append(chunk)
        while sum(map(len, held)) > capacity:
            held.pop(0)
    assert len(replay) == sum(map(len, held))
    # row -> what follows it, episode by episode; values are unique and count up within a session
    after: dict[int, tuple[int, bool]] = {}
    rows: set[int] = set()
    for chunk in held:
        values = chunk.columns["reward"].astype(int).tolist()
        rows.update(values)
        for value, first in zip(values, chunk.columns["is_first"].tolist(), strict=True):
            after[value - 1] = (value, first)
    expected = set()
    for start in rows:
        row, good = start, True
        for _ in range(length - 1):
            row, border = after.get(row, (-1, False))
            good = good and row in rows and not (border and not cross)
        if good:
            expected.add(start)
    assert replay.can_sample(length) == bool(expected)
    if expected:
        batch = replay.sample(np.random.default_rng(0), 600, length)
        reward = batch["reward"].astype(int)
        np.testing.assert_array_equal(reward, reward[:, :1] + np.arange(length))
        assert set(reward[:, 0].tolist()) <= expected
        # Exactly these, each counted once: the sampler's own number of windows agrees.
        assert replay._windows(length).total == len(expected)
