from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import numpy as np
import pytest

from daydreamer.replay.archive import Archive
from daydreamer.replay.load import summarize
from daydreamer.replay.segments import ArchiveDamage, ArchiveError, list_segments, segment_path
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.replay.verify import verify
from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.rows import Chunk, Column, Schema, make_schema

Open = Callable[..., Archive]
Stream = Callable[..., Iterator[Chunk]]


def store(archive: Archive, *chunks: Chunk) -> list[bool]:
    stored = [archive.append(chunk, encode_chunk(chunk)) for chunk in chunks]
    archive.commit()
    return stored


def names(archive: Archive) -> list[tuple[str, int]]:
    return [(chunk.session, chunk.sequence) for chunk in archive.chunks()]


def test_chunks_come_back_as_they_were_stored(open_archive: Open, make_stream: Stream) -> None:
    chunks = list(make_stream("a", [[4, 4], [2]]))
    archive = open_archive()
    store(archive, *chunks)
    archive.close()
    for found, chunk in zip(open_archive().chunks(), chunks, strict=True):
        assert (found.run, found.actor, found.session) == (chunk.run, chunk.actor, chunk.session)
        assert found.sequence == chunk.sequence
        assert (found.episode, found.first_row) == (chunk.episode, chunk.first_row)
        for name, array in chunk.columns.items():
            np.testing.assert_array_equal(found.columns[name], array)


def test_archive_of_the_first_protocol_can_still_be_read(
    open_archive: Open, make_stream: Stream
) -> None:
    chunks = list(make_stream("a", [[4], [2]]))
    with open_archive() as archive:
        for chunk in chunks:
            plain, *columns = encode_chunk(chunk)
            header = msgpack.unpackb(plain)
            assert header.pop("encodings") == {}
            archive.append(chunk, [msgpack.packb({**header, "protocol": 1}), *columns])
    for found, chunk in zip(open_archive().chunks(), chunks, strict=True):
        assert found.sequence == chunk.sequence
        np.testing.assert_array_equal(found.columns["vector"], chunk.columns["vector"])


def test_chunk_that_comes_again_is_dropped_and_counted(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    chunks = list(make_stream("a", [[4, 4, 4]]))
    archive = open_archive()
    assert store(archive, *chunks[:2]) == [True, True]
    assert store(archive, *chunks) == [False, False, True]
    archive.close()
    again = open_archive()
    assert store(again, *chunks) == [False, False, False]
    assert names(again) == [("a", 0), ("a", 1), ("a", 2)]
    for summary in (again.summary(), summarize(root)):
        assert summary.duplicates_dropped == 5
        assert summary.duplicates_stored == 0
        assert summary.rows == 12


def test_high_water_is_the_newest_sequence_of_each_session(
    open_archive: Open, make_stream: Stream
) -> None:
    archive = open_archive()
    store(archive, *make_stream("a", [[4, 4, 4]]), *make_stream("b", [[4]]))
    assert [archive.high_water(session) for session in ("a", "b", "c")] == [2, 0, -1]
    archive.close()
    again = open_archive()
    assert [again.high_water(session) for session in ("a", "b", "c")] == [2, 0, -1]


def test_summary_counts_sessions_rows_and_gaps(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    a, b = list(make_stream("a", [[4, 3], [2]])), list(make_stream("b", [[5, 5, 5]], start=100))
    archive = open_archive()
    store(archive, a[0], b[0], a[1], b[2], a[2])
    for summary in (archive.summary(), summarize(root)):
        assert (summary.rows, summary.chunks, summary.gaps) == (19, 5, 1)
        assert list(summary.sessions) == ["a", "b"]
        found = summary.sessions["b"]
        assert (found.actor, found.rows, found.chunks, found.gaps) == ("actor-b", 10, 2, 1)
        assert (found.first_time_s, found.last_time_s) == (100, 114)
        assert summary.sessions["a"].gaps == 0
        assert summary.bytes == sum(path.stat().st_size for path in root.glob("*.seg"))


def test_episode_cut_short_is_no_gap_and_missing_rows_are(
    open_archive: Open, make_chunk: Callable[..., Chunk]
) -> None:
    archive = open_archive()
    store(archive, make_chunk("a", 0), make_chunk("a", 1, episode=1))
    assert archive.summary().gaps == 0
    store(archive, make_chunk("a", 2, episode=1, first_row=5))
    assert archive.summary().gaps == 1


def test_session_that_does_not_begin_at_zero_has_a_gap(
    open_archive: Open, make_chunk: Callable[..., Chunk]
) -> None:
    archive = open_archive()
    store(archive, make_chunk("a", 3))
    assert archive.summary().gaps == 1


def test_full_segment_is_followed_by_another(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive(segment_bytes=3000)
    store(archive, *make_stream("a", [[4] * 20]))
    assert len(list_segments(root)) > 3
    assert names(archive) == [("a", sequence) for sequence in range(20)]
    archive.close()
    again = open_archive(segment_bytes=3000)
    assert names(again) == [("a", sequence) for sequence in range(20)]
    assert again.summary().gaps == 0
    assert verify(root).sound


def test_old_segments_are_evicted_while_the_capacity_remains_without_them(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive(capacity_rows=40)
    for chunk in make_stream("a", [[4] * 50]):
        store(archive, chunk)
        summary = archive.summary()
        # A segment closes at 10 rows or a little more: 12 with chunks of 4. One waits to be
        # spared, one is being filled.
        assert summary.rows <= 40 + 12 + 12
        assert summary.rows >= min(40, summary.rows_ever)
    assert summary.rows_ever == 200
    assert summarize(root) == summary
    kept = [sequence for _, sequence in names(archive)]
    assert kept == list(range(kept[0], 50))


def test_restart_after_eviction_remembers_every_session(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    old, new = list(make_stream("old", [[4, 4]])), list(make_stream("new", [[4] * 30]))
    archive = open_archive(capacity_rows=20)
    store(archive, *old, *old, *new)
    assert "old" not in dict(names(archive))
    archive.close()
    again = open_archive(capacity_rows=20)
    assert again.high_water("old") == 1
    assert store(again, *old, *new) == [False] * 32
    summary = again.summary()
    assert summary.duplicates_dropped == 2 + 32
    assert summary.gaps == 0
    assert summary.sessions["old"].rows == 0
    assert summary.sessions["old"].rows_ever == 8
    assert verify(root).sound


def test_memory_refilled_from_the_archive_draws_the_same_windows(
    open_archive: Open, make_stream: Stream, schema: Schema
) -> None:
    live, refilled = SequenceReplay(schema, 40), SequenceReplay(schema, 40)
    archive = open_archive(capacity_rows=40)
    for pair in zip(make_stream("b", [[3] * 30]), make_stream("a", [[2] * 30]), strict=True):
        store(archive, *pair)
        for chunk in pair:
            live.add(chunk)
    archive.close()
    for chunk in open_archive(capacity_rows=40).chunks():
        refilled.add(chunk)
    left = live.sample(np.random.default_rng(0), 32, 8)
    right = refilled.sample(np.random.default_rng(0), 32, 8)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name])


def test_second_learner_is_refused_by_name_until_the_first_is_gone(
    open_archive: Open, root: Path
) -> None:
    first = open_archive()
    with pytest.raises(ArchiveError, match=r"in use by process \d+: stop that learner"):
        open_archive()
    first.close()
    open_archive()


def test_rows_of_another_task_are_refused_with_the_difference(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive()
    store(archive, *make_stream("a", [[4]]))
    archive.close()
    other = make_schema({"vector": Column("float32", (16,))}, 2, ("height",))
    with pytest.raises(ArchiveError, match=r"another task: column 'vector'.*another\s+run folder"):
        Archive(root, other, "run")


def test_tail_cut_at_any_byte_is_dropped_with_one_line(
    open_archive: Open, make_stream: Stream, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chunks = list(make_stream("a", [[1, 1, 1]]))
    archive = open_archive()
    store(archive, *chunks[:2])
    whole = archive.summary().bytes
    store(archive, chunks[2])
    full = archive.summary().bytes
    archive.close()
    path = segment_path(root, 1)
    data = path.read_bytes()
    for size in [*range(whole + 1, full, 37), full - 1]:
        path.write_bytes(data[:size])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            archive = open_archive()
        assert len(caplog.records) == 1
        assert f"cut off {size - whole} bytes" in caplog.text
        assert archive.high_water("a") == 1
        assert path.stat().st_size == whole
        assert store(archive, chunks[2]) == [True]  # the actor sends it again
        assert names(archive) == [("a", 0), ("a", 1), ("a", 2)]
        archive.close()
        assert path.read_bytes() == data


def test_damage_in_the_middle_is_refused_with_the_cure(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive()
    store(archive, *make_stream("a", [[4, 4, 4]]))
    archive.close()
    path = segment_path(root, 1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveDamage, match=r"000001\.seg, byte \d+.*replay verify .* --repair"):
        open_archive()
    with pytest.raises(ArchiveDamage):
        summarize(root)


def test_missing_segment_is_named(open_archive: Open, make_stream: Stream, root: Path) -> None:
    archive = open_archive(segment_bytes=3000)
    store(archive, *make_stream("a", [[4] * 20]))
    archive.close()
    segment_path(root, 2).unlink()
    with pytest.raises(ArchiveDamage, match=r"000002\.seg.*missing"):
        open_archive()


def test_segment_cut_short_between_others_is_damage_not_a_torn_tail(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive(segment_bytes=3000)
    store(archive, *make_stream("a", [[4] * 20]))
    archive.close()
    path = segment_path(root, 2)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ArchiveDamage, match=r"000002\.seg.*cut short"):
        open_archive()


def test_duplicate_that_reached_the_disk_is_counted(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive()
    store(archive, *make_stream("a", [[4, 4]]))
    before = segment_path(root, 1).stat().st_size
    store(archive, *make_stream("b", [[4]]))
    archive.close()
    with segment_path(root, 1).open("r+b") as file:
        file.seek(before)
        record = file.read()
        file.write(record)  # the last record, once more
    assert summarize(root).duplicates_stored == 1
    assert not verify(root).sound
    assert open_archive().summary().duplicates_stored == 1


def test_summary_can_be_read_while_the_learner_writes(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive(segment_bytes=3000, capacity_rows=100)
    chunks = list(make_stream("a", [[4] * 200]))
    store(archive, chunks[0])
    writer = threading.Thread(target=lambda: [store(archive, chunk) for chunk in chunks[1:]])
    writer.start()
    seen = []
    while writer.is_alive():
        summary = summarize(root)
        seen.append(summary.rows_ever)
        assert (summary.gaps, summary.duplicates_stored) == (0, 0)
    writer.join(timeout=10)
    assert seen == sorted(seen)
    assert summarize(root) == archive.summary()
    assert summarize(root).rows_ever == 800


def test_summary_does_not_count_a_record_in_the_making(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive()
    store(archive, *make_stream("a", [[4, 4]]))
    path = segment_path(root, 1)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    assert summarize(root).chunks == 1


def test_reading_stops_before_a_record_in_the_making(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive()
    store(archive, *make_stream("a", [[4, 4]]))
    with segment_path(root, 1).open("ab") as file:
        file.write(b"DDR1 half")
    assert names(archive) == [("a", 0), ("a", 1)]


def test_summary_of_nothing_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no archive at .*nowhere"):
        summarize(tmp_path / "nowhere")


def test_closed_archive_takes_no_rows_and_closes_again(
    open_archive: Open, make_chunk: Callable[..., Chunk]
) -> None:
    archive = open_archive()
    archive.close()
    archive.close()
    with pytest.raises(ArchiveError, match="takes no more rows: it was closed"):
        archive.append(make_chunk(), encode_chunk(make_chunk()))


def test_leftovers_of_a_segment_that_was_being_made_are_removed(
    open_archive: Open, make_stream: Stream, root: Path
) -> None:
    archive = open_archive()
    store(archive, *make_stream("a", [[4]]))
    archive.close()
    (root / "000002.tmp").write_bytes(b"half")
    assert names(open_archive()) == [("a", 0)]
    assert not (root / "000002.tmp").exists()
