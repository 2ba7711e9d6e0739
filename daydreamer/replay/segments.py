"""Segment files of the archive: names, creation, reading, and the lock on their folder.

RUN/learner/replay/000007.seg    marks record, then chunk and counters records
RUN/learner/replay/lock          held by the one learner that writes here
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from daydreamer.replay.marks import Counters, Marks, decode_mark_record, encode_marks
from daydreamer.wire.codec import decode_chunk
from daydreamer.wire.headers import WireError
from daydreamer.wire.records import (
    CorruptRecord,
    RecordError,
    TornTail,
    find_record,
    read_record,
    read_records,
    write_record,
)
from daydreamer.wire.rows import Chunk, Schema


class ArchiveError(RuntimeError):
    """The archive cannot be used: the message names cause and cure."""


class ArchiveDamage(ArchiveError):  # noqa: N818 - named after what was found
    """Stored data does not check."""

    def __init__(self, path: Path, offset: int, reason: str) -> None:
        self.path, self.offset, self.reason = path, offset, reason
        super().__init__(
            f"the archive is damaged: {path}, byte {offset}: {reason}. Run `daydreamer replay "
            f"verify {path.parent} --repair`: it keeps every sound record and sets the damaged "
            "file aside"
        )


def segment_path(root: Path, number: int) -> Path:
    """The file of a segment."""
    return root / f"{number:06d}.seg"


def list_segments(root: Path) -> list[int]:
    """Numbers of the segments there are, oldest first. Raises ArchiveError without a folder."""
    if not root.is_dir():
        raise ArchiveError(
            f"there is no archive at {root}: expected the folder RUN/learner/replay, which "
            "`daydreamer learner` or `daydreamer dryrun` makes"
        )
    return sorted(int(path.stem) for path in root.glob("*.seg") if path.stem.isdigit())


def require_consecutive(root: Path, numbers: Sequence[int]) -> None:
    """Raise ArchiveDamage if a segment between the oldest and the newest is missing."""
    for before, number in pairwise(numbers):
        if number != before + 1:
            raise ArchiveDamage(
                segment_path(root, before + 1),
                0,
                f"the file is missing, segments {before} and {number} are there",
            )


def read_segment(
    file: BinaryIO, number: int, schema: Schema | None = None
) -> Iterator[tuple[int, Marks | Counters | Chunk]]:
    """Yield (offset, record) of a segment's sound records, the first one being its marks.

    Chunks are checked against `schema`, or else against the segment's own. Raises CorruptRecord
    where a record does not check, decode or belong, TornTail where the file ends within a record.
    """
    where = -1
    try:
        for offset, frames in read_records(file):
            try:
                record = decode_record(frames, schema)
            except WireError as error:
                raise CorruptRecord(offset, str(error)) from error
            if isinstance(record, Marks) != (where < 0) or (
                isinstance(record, Marks) and record.segment != number
            ):
                raise CorruptRecord(offset, f"record does not belong here, in segment {number}")
            if isinstance(record, Marks) and schema is None:
                schema = record.schema
            where = offset
            yield offset, record
    except TornTail as tail:
        # What a dying writer leaves has its segment's marks before it and nothing sound after it.
        if where < 0 or _followed(file, tail.offset):
            raise CorruptRecord(tail.offset, f"cut short: {tail.reason}") from tail
        raise
    if where < 0:
        raise CorruptRecord(0, "the file is empty, expected a marks record")


def _followed(file: BinaryIO, offset: int) -> bool:
    """True if a sound record lies after the unsound one at `offset`."""
    if find_record(file, offset + 1) is None:
        return False
    try:
        read_record(file, offset)
    except RecordError:
        return True
    return False  # a live learner has completed it since we first looked


def decode_record(frames: Sequence[bytes], schema: Schema | None) -> Marks | Counters | Chunk:
    """The meaning of a record's frames. Raises WireError."""
    if len(frames) == 1:
        return decode_mark_record(frames[0])
    return decode_chunk(frames, schema)


def write_segment(root: Path, marks: Marks, records: Sequence[Sequence[bytes]] = ()) -> Path:
    """Make a segment file that is complete or invisible. Raises OSError, leaving nothing behind."""
    path = segment_path(root, marks.segment)
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            for frames in [encode_marks(marks), *records]:
                write_record(file, frames)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
    sync_folder(root)
    return path


def sync_folder(root: Path) -> None:
    """Make file names in a folder survive a power loss."""
    handle = os.open(root, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(path: Path, doing: str, error: OSError) -> ArchiveError:
    """What to tell the user when the disk refuses."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        cure = (
            f"free space on the disk that holds {path.parent} (or raise its quota), or lower "
            "learner.capacity_rows"
        )
    else:
        cure = f"check the disk that holds {path.parent} and its permissions"
    return ArchiveError(
        f"cannot {doing} {path}: {error.strerror or error}. Cure: {cure}. Nothing acknowledged is "
        "lost: the actors keep their rows and send them again"
    )


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the archive against any other writer. Raises ArchiveError if there is one.

    The kernel drops the lock with its holder, so a killed learner leaves none behind.
    """
    with (root / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise ArchiveError(
                f"the archive {root} is in use by process {holder}: stop that learner first, or "
                "choose another run folder"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
