"""Reading past damage: what is sound in each segment of an archive, and what is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from daydreamer.replay.marks import Counters, Marks
from daydreamer.replay.segments import decode_record, list_segments, segment_path
from daydreamer.wire.headers import WireError
from daydreamer.wire.records import HEADER_BYTES, RecordError, find_record, pack_frames, read_record
from daydreamer.wire.rows import Chunk


@dataclass(frozen=True)
class Problem:
    """Bytes that do not check."""

    path: Path
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, byte {self.offset}: {self.reason}"


@dataclass
class Salvage:
    """One segment: its marks if they are sound, its other sound records, and the problems."""

    number: int
    marks: Marks | None = None
    records: list[tuple[list[bytes], Chunk | Counters]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    size_bytes: int = 0


def survey(root: Path) -> Iterator[Salvage]:
    """Every segment from oldest to newest, missing ones included; one at a time in memory."""
    numbers = list_segments(root)
    if not numbers:
        return
    for number in range(numbers[0], numbers[-1] + 1):
        path = segment_path(root, number)
        salvage = Salvage(number)
        try:
            with path.open("rb") as file:
                _read(file, path, salvage)
        except FileNotFoundError:
            if number in numbers:
                continue  # evicted by a live learner since we listed it
            salvage.problems.append(Problem(path, 0, "the file is missing"))
        yield salvage


def _read(file: BinaryIO, path: Path, salvage: Salvage) -> None:
    """Read a segment to its end, stepping over what does not check."""
    salvage.size_bytes = end = file.seek(0, 2)
    offset: int | None = 0
    while offset is not None and offset < end:
        offset = _step(file, path, offset, salvage)
    if salvage.marks is None and not salvage.problems:
        salvage.problems.append(Problem(path, 0, "no marks record, expected one at the beginning"))


def _step(file: BinaryIO, path: Path, offset: int, salvage: Salvage) -> int | None:
    """Read the record at `offset`; return where the next sound one may begin, None if nowhere."""
    try:
        frames = read_record(file, offset)
        _take(frames, offset, salvage)
    except (RecordError, WireError) as error:
        reason = error.reason if isinstance(error, RecordError) else str(error)
        salvage.problems.append(Problem(path, offset, reason))
        return find_record(file, offset + 1)
    return offset + HEADER_BYTES + len(pack_frames(frames))


def _take(frames: list[bytes], offset: int, salvage: Salvage) -> None:
    """Sort a record by its meaning. Raises WireError if it has none here."""
    record = decode_record(frames, salvage.marks.schema if salvage.marks else None)
    if not isinstance(record, Marks):
        salvage.records.append((frames, record))
    elif offset == 0 and record.segment == salvage.number:
        salvage.marks = record
    else:
        raise WireError(f"marks of segment {record.segment} do not belong here")
