"""The actor's journal: every chunk lies on the disk until the learner has acknowledged it.

    # ROOT/<session>/<sequence:012d>.chunk           one record, complete or invisible
    # ROOT/<session>/<sequence:012d>.chunk.corrupt   did not check when it was read back
    # ROOT/<session>/<sequence:012d>.chunk.refused   the learner will never accept it

A file per chunk: appending is write, sync, rename; forgetting is unlink. Both survive `kill -9` at
any point, and neither needs the other chunks. A restarted actor finds the chunks of its earlier
sessions here and sends them first.
"""

from __future__ import annotations

import bisect
import logging
import os
from pathlib import Path
from typing import NamedTuple

from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.names import is_name
from daydreamer.wire.records import RecordError, read_record, write_record
from daydreamer.wire.rows import Chunk

log = logging.getLogger(__name__)


class Depth(NamedTuple):
    """What waits for an acknowledgement."""

    chunks: int
    bytes: int


class Journal:
    """Chunks on disk, in order, from `append` to `forget`. Used by one thread at a time.

    root: its folder, made when missing; one process at a time.
    quota_bytes: beyond it the oldest chunks are dropped and counted; None keeps everything.
    fsync: False survives the death of the process but not of the machine.
    """

    def __init__(self, root: Path, quota_bytes: int | None = None, fsync: bool = True) -> None:
        if quota_bytes is not None and quota_bytes <= 0:
            raise ValueError(
                f"quota_bytes={quota_bytes}: give a positive size, or null for no limit"
            )
        self.root = Path(root)
        self.quota_bytes = quota_bytes
        self.fsync = fsync
        self.dropped = 0  # chunks removed because of the quota
        self.corrupt = 0  # chunks moved aside because they did not check
        self.refused = 0  # chunks moved aside because the learner will never accept them
        self._index: dict[str, dict[int, int]] = {}  # session -> sequence -> bytes
        self._order: dict[str, list[int]] = {}  # session -> its sequences, ascending
        self._chunks = self._bytes = 0
        self._over_quota = False
        self.root.mkdir(parents=True, exist_ok=True)
        self._scan()

    @property
    def depth(self) -> Depth:
        """Chunks and bytes that wait; may be read from any thread."""
        return Depth(self._chunks, self._bytes)

    def append(self, chunk: Chunk) -> None:
        """Write a chunk to the disk. Raises WireError for a malformed one, OSError for the disk."""
        self.append_frames(chunk.session, chunk.sequence, encode_chunk(chunk))

    def append_frames(self, session: str, sequence: int, frames: list[bytes]) -> None:
        """Write an encoded chunk to the disk; on return it survives `kill -9`. Raises OSError."""
        folder = self.root / session
        new_folder = not folder.exists()
        folder.mkdir(exist_ok=True)
        if new_folder and self.fsync:
            _sync_folder(self.root)
        path = self._path(session, sequence)
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("wb", buffering=0) as file:
                size = write_record(file, frames)
                if self.fsync:
                    os.fsync(file.fileno())
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        if self.fsync:
            _sync_folder(folder)
        self._enter(session, sequence, size)
        self._keep_quota(newest=(session, sequence))

    def sessions(self) -> list[str]:
        """Sessions with waiting chunks, oldest first (their ids sort by start time)."""
        return sorted(session for session, order in self._order.items() if order)

    def pending(self) -> list[tuple[str, int]]:
        """(session, sequence) of every waiting chunk, in the order in which to send them."""
        return [(session, seq) for session in self.sessions() for seq in self._order[session]]

    def next_after(self, session: str, sequence: int) -> int | None:
        """The session's first waiting sequence beyond `sequence`, or None."""
        order = self._order.get(session, [])
        at = bisect.bisect_right(order, sequence)
        return order[at] if at < len(order) else None

    def load(self, session: str, sequence: int) -> list[bytes] | None:
        """The frames of a waiting chunk. None when it did not check and was moved aside."""
        path = self._path(session, sequence)
        try:
            with path.open("rb") as file:
                return read_record(file, 0)
        except (RecordError, FileNotFoundError) as error:
            self.corrupt += 1
            log.error("%s does not check (%s); moved aside, its rows are lost", path, error)
            self._set_aside(session, sequence, ".corrupt")
            return None

    def refuse(self, session: str, sequence: int) -> bool:
        """Move a chunk aside that the learner will never accept. False when it is not waiting."""
        if sequence not in self._index.get(session, {}):
            return False
        self.refused += 1
        self._set_aside(session, sequence, ".refused")
        return True

    def forget(self, session: str, through_sequence: int) -> int:
        """Remove the session's chunks through a sequence; return how many there were."""
        order = self._order.get(session, [])
        done = order[: bisect.bisect_right(order, through_sequence)]
        for sequence in done:
            # No sync: a chunk that comes back after a power loss is a duplicate, which is harmless.
            self._path(session, sequence).unlink(missing_ok=True)
            self._leave(session, sequence)
        if done and not self._order.get(session):
            self._remove_folder(session)
        return len(done)

    def _scan(self) -> None:
        for folder in sorted(self.root.iterdir()):
            if not folder.is_dir() or not is_name(folder.name):
                continue
            for path in sorted(folder.iterdir()):
                if path.suffix == ".tmp":
                    path.unlink()  # its writer died; the chunk was never promised to anyone
                elif path.suffix == ".chunk" and path.stem.isdecimal():
                    self._enter(folder.name, int(path.stem), path.stat().st_size)
            if folder.name not in self._order:
                self._remove_folder(folder.name)
        if self._chunks:
            log.info("journal %s holds %d chunks to send", self.root, self._chunks)

    def _enter(self, session: str, sequence: int, size: int) -> None:
        index = self._index.setdefault(session, {})
        if sequence in index:  # written again: an actor's own mistake, the newer file has won
            self._bytes += size - index[sequence]
        else:
            bisect.insort(self._order.setdefault(session, []), sequence)
            self._chunks += 1
            self._bytes += size
        index[sequence] = size

    def _leave(self, session: str, sequence: int) -> None:
        order = self._order[session]
        del order[bisect.bisect_left(order, sequence)]
        self._bytes -= self._index[session].pop(sequence)
        self._chunks -= 1
        if not order:
            del self._order[session], self._index[session]

    def _set_aside(self, session: str, sequence: int, suffix: str) -> None:
        path = self._path(session, sequence)
        if path.exists():
            path.rename(path.with_name(path.name + suffix))
        self._leave(session, sequence)

    def _keep_quota(self, newest: tuple[str, int]) -> None:
        if self.quota_bytes is None or self._bytes <= self.quota_bytes:
            self._over_quota = False
            return
        if not self._over_quota:  # once an outage, not once a chunk
            self._over_quota = True
            log.error(
                "journal %s is over its quota of %d bytes: its oldest chunks are dropped until the "
                "learner answers. Start the learner, or raise the quota",
                *(self.root, self.quota_bytes),
            )
        for session, sequence in self.pending():
            if self._bytes <= self.quota_bytes or (session, sequence) == newest:
                return
            self._path(session, sequence).unlink(missing_ok=True)
            self._leave(session, sequence)
            self.dropped += 1

    def _remove_folder(self, session: str) -> None:
        folder = self.root / session
        if not any(folder.iterdir()):  # .corrupt and .refused files stay for study
            folder.rmdir()

    def _path(self, session: str, sequence: int) -> Path:
        return self.root / session / f"{sequence:012d}.chunk"


def _sync_folder(folder: Path) -> None:
    """Make a new name in a folder survive a power loss."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
