from __future__ import annotations

import logging
from pathlib import Path

import pytest

from daydreamer.wire.codec import WireError, decode_chunk, encode_chunk
from daydreamer.wire.journal import Journal
from tests.wire.bench import Bench, make_chunk


def paths(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_chunks_wait_in_order_of_session_and_sequence(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for session, sequence in [("s2", 0), ("s1", 4), ("s1", 5), ("s2", 1)]:
        journal.append(make_chunk(sequence, session))
    assert journal.pending() == [("s1", 4), ("s1", 5), ("s2", 0), ("s2", 1)]
    assert journal.load("s1", 5) == encode_chunk(make_chunk(5, "s1"))
    assert journal.next_after("s1", 4) == 5
    assert journal.next_after("s1", 5) is None
    assert journal.depth.chunks == 4
    assert journal.depth.bytes == sum((tmp_path / path).stat().st_size for path in paths(tmp_path))


def test_only_what_was_acknowledged_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for session, sequence in [("s1", 0), ("s1", 1), ("s1", 2), ("s2", 0)]:
        journal.append(make_chunk(sequence, session))
    assert journal.forget("s1", 1) == 2
    assert journal.pending() == [("s1", 2), ("s2", 0)]
    assert journal.forget("s1", 10) == 1
    assert journal.forget("unknown", 10) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["s2"]
    assert journal.depth.chunks == 1
    assert Journal(tmp_path).pending() == [("s2", 0)]


def test_malformed_chunk_never_reaches_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(WireError, match="expected 1 to 64"):
        journal.append(make_chunk(0, "../escape"))
    assert paths(tmp_path) == []


def test_corrupt_file_is_moved_aside_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path)
    for sequence in range(3):
        journal.append(make_chunk(sequence))
    file = tmp_path / "s1" / "000000000001.chunk"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    (tmp_path / "s1" / "000000000002.chunk").write_bytes(b"")
    journal = Journal(tmp_path)
    assert journal.load("s1", 1) is None
    assert journal.load("s1", 2) is None
    assert journal.corrupt == 2
    assert journal.pending() == [("s1", 0)]
    assert "s1/000000000001.chunk.corrupt" in paths(tmp_path)
    assert "moved aside" in caplog.text
    assert Journal(tmp_path).pending() == [("s1", 0)]


def test_quota_drops_the_oldest_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    size = Journal(tmp_path / "probe")
    size.append(make_chunk(0))
    journal = Journal(tmp_path / "real", quota_bytes=3 * size.depth.bytes)
    for sequence in range(8):
        journal.append(make_chunk(sequence))
    assert journal.pending() == [("s1", 5), ("s1", 6), ("s1", 7)]
    assert journal.dropped == 5
    assert sum("over its quota" in record.message for record in caplog.records) == 1


def test_quota_smaller_than_a_chunk_keeps_the_newest(tmp_path: Path) -> None:
    journal = Journal(tmp_path, quota_bytes=1)
    journal.append(make_chunk(0))
    journal.append(make_chunk(1))
    assert journal.pending() == [("s1", 1)]
    with pytest.raises(ValueError, match="quota_bytes=0"):
        Journal(tmp_path, quota_bytes=0)


def test_chunk_that_was_half_written_is_as_if_it_never_was(tmp_path: Path) -> None:
    Journal(tmp_path).append(make_chunk(0))
    (tmp_path / "s1" / "000000000001.tmp").write_bytes(b"DDR1half")
    (tmp_path / "s0").mkdir()
    assert Journal(tmp_path).pending() == [("s1", 0)]
    assert paths(tmp_path) == ["s1/000000000000.chunk"]


def test_refused_chunk_is_kept_for_study(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(make_chunk(0))
    assert journal.refuse("s1", 0)
    assert not journal.refuse("s1", 0)
    assert (journal.refused, journal.pending()) == (1, [])
    assert paths(tmp_path) == ["s1/000000000000.chunk.refused"]


def test_disk_that_refuses_a_chunk_leaves_the_others_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(make_chunk(0))
    (tmp_path / "s2").write_text("a file where a folder has to be")
    with pytest.raises(OSError, match="File exists"):
        journal.append(make_chunk(0, "s2"))
    assert journal.pending() == [("s1", 0)]
    assert journal.depth.chunks == 1


def test_every_chunk_that_was_promised_survives_kill_9(tmp_path: Path, bench: Bench) -> None:
    child = bench.child("journal", tmp_path)
    assert child.stdout is not None
    promised = -1
    for line in child.stdout:
        promised = int(line)
        if promised >= 20:
            break
    child.kill()
    promised = max([promised, *(int(line) for line in child.stdout)])
    child.wait(10)
    journal = Journal(tmp_path)
    sequences = [sequence for _, sequence in journal.pending()]
    assert sequences == list(range(len(sequences)))
    assert len(sequences) in (promised + 1, promised + 2)  # one may be written and not yet said
    logging.getLogger(__name__).info("%d chunks survived", len(sequences))
    for sequence in sequences:
        frames = journal.load("s1", sequence)
        assert frames is not None
        assert decode_chunk(frames).sequence == sequence
