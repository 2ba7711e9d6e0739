from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daydreamer.replay.archive import Archive
from daydreamer.replay.segments import ArchiveDamage, ArchiveError, list_segments, segment_path
from daydreamer.replay.verify import repair, verify
from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.records import read_records
from daydreamer.wire.rows import Chunk

Open = Callable[..., Archive]
Stream = Callable[..., Iterator[Chunk]]


@pytest.fixture
def stored(open_archive: Open, make_stream: Stream, root: Path) -> list[tuple[str, int]]:
    """An archive of several segments, closed in good order; what it holds."""
    archive = open_archive(segment_bytes=3000)
    names = []
    for pair in zip(make_stream("a", [[2] * 12]), make_stream("b", [[3] * 12]), strict=True):
        for chunk in pair:
            archive.append(chunk, encode_chunk(chunk))
            names.append((chunk.session, chunk.sequence))
    archive.close()
    assert len(list_segments(root)) >= 4
    return names


def held(archive: Archive) -> list[tuple[str, int]]:
    return [(chunk.session, chunk.sequence) for chunk in archive.chunks()]


def flip(path: Path, at: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


def chunk_offsets(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [offset for offset, frames in read_records(file) if len(frames) > 1]


def test_sound_archive_verifies_and_stays_as_it_is(
    stored: list[tuple[str, int]], root: Path
) -> None:
    before = {path.name: path.read_bytes() for path in root.iterdir()}
    report = verify(root)
    assert report.sound
    assert report.summary.chunks == len(stored)
    assert before == {path.name: path.read_bytes() for path in root.iterdir()}


def test_single_flipped_bit_is_found_wherever_it_is(
    stored: list[tuple[str, int]], root: Path
) -> None:
    for number in list_segments(root):
        path = segment_path(root, number)
        size = path.stat().st_size
        # Every byte of the first record headers, then samples, then the last bytes.
        for at in [*range(40), *range(40, size, 61), size - 2, size - 1]:
            flip(path, at, bit=at % 8)
            report = verify(root)
            assert not report.sound, f"bit {at % 8} of byte {at} of {path.name}"
            assert {problem.path for problem in report.problems} == {path}
            flip(path, at, bit=at % 8)
    assert verify(root).sound


def test_repair_keeps_every_sound_record_and_sets_the_original_aside(
    stored: list[tuple[str, int]], root: Path, open_archive: Open
) -> None:
    path = segment_path(root, 2)
    offset = chunk_offsets(path)[1]
    flip(path, offset + 50)
    damaged = path.read_bytes()
    with pytest.raises(ArchiveDamage):
        open_archive()
    (problem,) = verify(root).problems
    assert (problem.path, problem.offset) == (path, offset)
    report = repair(root)
    assert report.problems == (problem,)
    assert [copy.read_bytes() for copy in report.set_aside] == [damaged]
    assert verify(root).sound
    archive = open_archive()
    kept = held(archive)
    assert len(kept) == len(stored) - 1
    assert [name for name in stored if name in kept] == kept
    assert archive.summary().gaps == 1
    assert archive.high_water("a") == archive.high_water("b") == 11


def test_repair_stepping_over_a_damaged_header_loses_one_record(
    stored: list[tuple[str, int]], root: Path, open_archive: Open
) -> None:
    path = segment_path(root, 1)
    flip(path, chunk_offsets(path)[0] + 5)  # its length
    repair(root)
    assert len(held(open_archive())) == len(stored) - 1


@pytest.mark.parametrize("number", [1, 2, -1])
def test_repair_makes_new_marks_for_damaged_ones(
    stored: list[tuple[str, int]], root: Path, open_archive: Open, number: int
) -> None:
    path = segment_path(root, list_segments(root)[number if number < 0 else number - 1])
    flip(path, 20)
    assert len(repair(root).set_aside) == 1
    archive = open_archive()
    assert held(archive) == stored
    assert archive.summary().gaps == 0
    assert verify(root).sound


def test_repair_of_a_missing_segment_keeps_the_marks_and_owns_up_to_gaps(
    stored: list[tuple[str, int]], root: Path, open_archive: Open
) -> None:
    segment_path(root, 2).unlink()
    assert [str(problem) for problem in verify(root).problems] == [
        f"{segment_path(root, 2)}, byte 0: the file is missing"
    ]
    repair(root)
    archive = open_archive()
    assert set(held(archive)) < set(stored)
    assert archive.summary().gaps == 2  # one in each session
    assert verify(root).sound


def test_repair_drops_a_record_that_is_there_twice(
    stored: list[tuple[str, int]], root: Path, open_archive: Open
) -> None:
    path = segment_path(root, list_segments(root)[-1])
    data = path.read_bytes()
    path.write_bytes(data + data[chunk_offsets(path)[-1] :])
    assert verify(root).summary.duplicates_stored == 1
    repair(root)
    assert verify(root).sound
    assert held(open_archive()) == stored


def test_torn_tail_is_a_problem_and_repair_keeps_the_rest(
    stored: list[tuple[str, int]], root: Path, open_archive: Open
) -> None:
    path = segment_path(root, list_segments(root)[-1])
    with path.open("ab") as file:
        file.write(b"DDR1\x00")
    assert not verify(root).sound
    repair(root)
    assert verify(root).sound
    assert held(open_archive()) == stored


def test_repaired_archive_takes_the_rows_that_follow(
    stored: list[tuple[str, int]], root: Path, open_archive: Open, make_stream: Stream
) -> None:
    path = segment_path(root, 2)
    flip(path, chunk_offsets(path)[0] + 60)
    repair(root)
    archive = open_archive()
    assert archive.summary().gaps == 1
    chunk = list(make_stream("a", [[2] * 12, [2]]))[-1]
    assert archive.append(chunk, encode_chunk(chunk))
    archive.commit()
    assert archive.summary().gaps == 1


def test_repair_of_a_sound_archive_touches_nothing(
    stored: list[tuple[str, int]], root: Path
) -> None:
    before = {path: path.read_bytes() for path in root.glob("*.seg*")}
    report = repair(root)
    assert not report.problems
    assert not report.set_aside
    assert before == {path: path.read_bytes() for path in root.glob("*.seg*")}


def test_repair_is_refused_while_a_learner_writes(open_archive: Open, root: Path) -> None:
    open_archive()
    with pytest.raises(ArchiveError, match="in use by process"):
        repair(root)


def test_archive_with_nothing_sound_is_left_alone(root: Path) -> None:
    root.mkdir(parents=True)
    segment_path(root, 1).write_bytes(b"no archive at all")
    with pytest.raises(ArchiveError, match=r"nothing in .* is sound"):
        repair(root)
    assert segment_path(root, 1).read_bytes() == b"no archive at all"


def test_second_repair_keeps_the_first_original(stored: list[tuple[str, int]], root: Path) -> None:
    path = segment_path(root, 1)
    copies = set()
    for _ in range(2):
        flip(path, chunk_offsets(path)[0] + 60)
        copies |= set(repair(root).set_aside)
    assert len(copies) == 2
