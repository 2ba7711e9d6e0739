"""The archive: every row ever acknowledged, exactly once, on disk (docs/decisions/0020-archive.md).

# append   duplicate? count and drop : one record at the end of the newest segment
# commit   fsync; only then may the learner acknowledge
# roll     a full segment is followed by a new one, which begins with the marks of all sessions
# evict    whole segments, oldest first, while `capacity_rows` remain without them
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType

from daydreamer.replay.ledger import ArchiveSummary, SegmentTally
from daydreamer.replay.load import load_ledger
from daydreamer.replay.marks import Counters, Marks, encode_counters
from daydreamer.replay.segments import (
    ArchiveDamage,
    ArchiveError,
    disk_error,
    locked,
    read_segment,
    segment_path,
    sync_folder,
    write_segment,
)
from daydreamer.wire.headers import Frame, schema_differences
from daydreamer.wire.records import RecordError, write_record
from daydreamer.wire.rows import Chunk, Schema

log = logging.getLogger(__name__)


class Archive:
    """Append-only store of chunks, open for writing. Safe to use from several threads.

    Opening reads and checks every record, cuts off a record that was being written when the last
    learner died, and refuses damaged data (ArchiveDamage) or rows of another task (ArchiveError).

    Args:
        root: the folder, RUN/learner/replay; made if missing.
        schema: columns of a row.
        run: name of the run, kept for the reader.
        segment_bytes: size at which a new segment is begun.
        capacity_rows: at least this many of the newest rows are kept; None keeps all.
    """

    def __init__(
        self,
        root: Path,
        schema: Schema,
        run: str,
        segment_bytes: int = 64 << 20,
        capacity_rows: int | None = None,
    ) -> None:
        self._root = Path(root)
        self._schema = dict(schema)
        self._segment_bytes = segment_bytes
        self._capacity_rows = capacity_rows
        self._lock = threading.RLock()
        self._failed: str | None = None  # why nothing may be appended any more
        self._dropped_on_disk = 0
        self._dirty = False
        try:
            with contextlib.ExitStack() as stack:
                self._open(stack, run)
                self._resources = stack.pop_all()
        except OSError as error:
            raise disk_error(self._root, "open", error) from error

    def append(self, chunk: Chunk, frames: Sequence[Frame]) -> bool:
        """Store a chunk as the frames it travelled in. True if stored, False if it was there.

        Not durable before `commit`. Raises ArchiveError, having stored nothing of it, when the disk
        refuses; a full disk may be tried again once there is space.
        """
        with self._lock:
            self._require_usable()
            if chunk.sequence <= self._ledger.high_water(chunk.session):
                self._ledger.duplicates_dropped += 1
                return False
            if self._full():
                self._roll()
            self._write(frames)
            self._ledger.note(chunk)
            return True

    def commit(self) -> None:
        """Make everything appended so far survive a power loss. Raises ArchiveError."""
        with self._lock:
            self._require_usable()
            if self._ledger.duplicates_dropped != self._dropped_on_disk:
                self._write(encode_counters(Counters(self._ledger.duplicates_dropped)))
                self._dropped_on_disk = self._ledger.duplicates_dropped
            if not self._dirty:
                return
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                # Linux forgets unwritten pages after a failed fsync: a second call would lie.
                self._failed = f"an fsync failed ({error.strerror}); restart the learner"
                raise disk_error(self._path, "sync", error) from error
            self._dirty = False

    def high_water(self, session: str) -> int:
        """Sequence of the newest chunk stored of a session, -1 if there is none."""
        with self._lock:
            return self._ledger.high_water(session)

    def chunks(self) -> Iterator[Chunk]:
        """Chunks stored when this is called, oldest first. Their arrays are read-only."""
        with self._lock:
            held = [(tally.number, tally.size_bytes) for tally in self._ledger.segments]
        for number, size in held:
            path = segment_path(self._root, number)
            try:
                file = path.open("rb")
            except FileNotFoundError:  # evicted since
                continue
            with file:
                try:
                    for offset, record in read_segment(file, number, self._schema):
                        if offset >= size:
                            break
                        if isinstance(record, Chunk):
                            yield record
                except RecordError as error:
                    if error.offset < size:  # beyond, a record is being written at this moment
                        raise ArchiveDamage(path, error.offset, error.reason) from error

    def summary(self) -> ArchiveSummary:
        """Counts as of now, without reading the disk again."""
        with self._lock:
            return self._ledger.summary()

    def close(self) -> None:
        """Commit, and let go of the folder. Allowed any number of times."""
        with self._lock:
            try:
                if self._failed is None:
                    self.commit()
            finally:
                self._failed = self._failed or "it was closed"
                self._resources.close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self, stack: contextlib.ExitStack, run: str) -> None:
        """Take the lock, read what is there, and stand at the end of the newest segment."""
        self._root.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(self._root))
        for leftover in self._root.glob("*.tmp"):
            leftover.unlink()
        loaded = load_ledger(self._root)
        self._ledger = loaded.ledger
        self._dropped_on_disk = self._ledger.duplicates_dropped
        self._check_schema()
        if self._ledger.segments:
            self._file = self._open_segment(self._tally.number)
        else:
            self._begin_segment(Marks(1, run, self._schema, 0))
        stack.callback(lambda: self._file.close())  # whichever it is by then
        if loaded.torn is not None:
            log.warning(
                "%s: cut off %d bytes of a record that was being written when the last learner "
                "stopped; it was never acknowledged, so its actor sends it again",
                self._path,
                self._file.tell() - loaded.torn,
            )
            self._file.truncate(loaded.torn)
            self._file.seek(loaded.torn)
            os.fsync(self._file.fileno())

    def _open_segment(self, number: int) -> FileIO:
        # Unbuffered: bytes left in a buffer after a failed write would turn up later.
        file = segment_path(self._root, number).open("r+b", buffering=0)
        file.seek(0, os.SEEK_END)
        return file

    @property
    def _tally(self) -> SegmentTally:
        return self._ledger.segments[-1]

    @property
    def _path(self) -> Path:
        return segment_path(self._root, self._tally.number)

    def _require_usable(self) -> None:
        if self._failed is not None:
            raise ArchiveError(f"the archive {self._root} takes no more rows: {self._failed}")

    def _check_schema(self) -> None:
        found = self._ledger.schema
        if found is not None and (lines := schema_differences(found, self._schema)):
            raise ArchiveError(
                f"the archive {self._root} holds rows of another task: {'; '.join(lines)}. Choose "
                "another run folder, or the task this one was made with"
            )

    def _full(self) -> bool:
        rows = self._tally.rows.total()
        # A quarter of the capacity, so that a small archive does not wait for 64 MiB to evict.
        many = self._capacity_rows is not None and rows >= max(1, self._capacity_rows // 4)
        return rows > 0 and (many or self._tally.size_bytes >= self._segment_bytes)

    def _write(self, frames: Sequence[Frame]) -> None:
        """Append one record, or nothing."""
        self._dirty = True
        try:
            size = write_record(self._file, frames)
        except OSError as error:
            try:
                self._file.truncate(self._tally.size_bytes)
                self._file.seek(self._tally.size_bytes)
            except OSError as again:
                self._failed = f"half a record could not be cut off ({again.strerror}); restart"
            raise disk_error(self._path, "append to", error) from error
        self._tally.size_bytes += size

    def _roll(self) -> None:
        """Begin the next segment; the one before it must be safe, as its marks vouch for it."""
        self.commit()
        full = self._file
        self._begin_segment(self._ledger.marks(self._tally.number + 1))
        full.close()
        self._evict()

    def _begin_segment(self, marks: Marks) -> None:
        try:
            write_segment(self._root, marks)
            self._file = self._open_segment(marks.segment)
        except OSError as error:
            path = segment_path(self._root, marks.segment)
            raise disk_error(path, "make", error) from error
        self._ledger.note(marks)
        self._tally.size_bytes = self._file.tell()

    def _evict(self) -> None:
        if self._capacity_rows is None:
            return
        segments = self._ledger.segments
        while len(segments) > 1 and (
            self._ledger.rows - segments[0].rows.total() >= self._capacity_rows
        ):
            oldest = segment_path(self._root, segments[0].number)
            try:
                oldest.unlink(missing_ok=True)
                sync_folder(self._root)
            except OSError as error:
                raise disk_error(oldest, "remove", error) from error
            segments.pop(0)
