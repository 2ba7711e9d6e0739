"""One on-disk record format, shared by the actor's journal and the learner's archive.

    # offset  0       4        8             12           16
    #         magic   length   payload CRC   header CRC   payload (length bytes)
    # payload: frame count, frame lengths, frames       all integers uint32, little endian

A process that dies while writing leaves a record cut short at the end of the file: a torn tail,
never acknowledged, safe to truncate. Anything else that does not check is damage to data that may
have been acknowledged, and is never skipped silently. The header has its own CRC because a damaged
length would otherwise point past the end and pass for a torn tail, taking all later records along.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from daydreamer.wire.headers import MAX_CHUNK_BYTES, MAX_COLUMNS, MAX_HEADER_BYTES, Frame

MAGIC = b"DDR1"
HEADER_BYTES = 16
MAX_RECORD_BYTES = MAX_CHUNK_BYTES + MAX_HEADER_BYTES + 8 * (MAX_COLUMNS + 2)
_HEADER = struct.Struct("<4sIII")


class RecordError(ValueError):
    """A record that cannot be read. `offset` is where it begins in the file, in bytes."""

    def __init__(self, offset: int, reason: str) -> None:
        self.offset = offset
        self.reason = reason
        super().__init__(f"record at byte {offset}: {reason}")


class CorruptRecord(RecordError):  # noqa: N818 - named after what was found
    """Damaged bytes that may have been acknowledged."""


class TornTail(RecordError):  # noqa: N818
    """The file ends within a record: its writer died. Truncate it at `offset`; nothing is lost."""


def write_record(file: BinaryIO, frames: Sequence[Frame]) -> int:
    """Write one record at the file's position; return its size in bytes. Does not flush or sync.

    Raises OSError when the disk is full, after which part of a record may have been written:
    truncate the file back to where it was. Raises ValueError for frames beyond MAX_RECORD_BYTES.
    """
    index = _index(frames)
    length = len(index) + sum(memoryview(frame).nbytes for frame in frames)
    if length > MAX_RECORD_BYTES:
        raise ValueError(f"record of {length} bytes, at most {MAX_RECORD_BYTES} are allowed")
    payload_crc = zlib.crc32(index)
    for frame in frames:
        payload_crc = zlib.crc32(frame, payload_crc)
    start = MAGIC + struct.pack("<II", length, payload_crc)
    start += struct.pack("<I", zlib.crc32(start))
    record = memoryview(b"".join([start, index, *frames]))  # the one copy that is made
    done = 0
    while done < len(record):  # an unbuffered file may take less than it was given
        done += file.write(record[done:])
    return len(record)


def read_records(file: BinaryIO, offset: int = 0) -> Iterator[tuple[int, list[bytes]]]:
    """Yield (offset, frames) of each record from `offset` to the end of the file.

    Raises CorruptRecord where bytes are damaged, TornTail where the file ends within a record.
    """
    file.seek(0, 2)
    end = file.tell()
    while offset < end:
        frames, size = _read_one(file, offset, end)
        yield offset, frames
        offset += size


def read_record(file: BinaryIO, offset: int) -> list[bytes]:
    """The frames of the record at `offset`. Raises CorruptRecord or TornTail."""
    file.seek(0, 2)
    return _read_one(file, offset, file.tell())[0]


def find_record(file: BinaryIO, offset: int) -> int | None:
    """The next place at or after `offset` where an intact record begins, or None: for repair."""
    file.seek(0, 2)
    end = file.tell()
    while offset + HEADER_BYTES <= end:
        file.seek(offset)
        window = file.read(1 << 20)
        at = window.find(MAGIC)
        if at < 0:  # the magic may straddle two windows
            offset += max(len(window) - len(MAGIC) + 1, 1)
            continue
        try:
            _read_one(file, offset + at, end)
        except RecordError:
            offset += at + 1
        else:
            return offset + at
    return None


def pack_frames(frames: Sequence[Frame]) -> bytes:
    """One byte string holding the frames and their lengths."""
    return b"".join([_index(frames), *frames])


def unpack_frames(payload: bytes) -> list[bytes]:
    """The frames in what `pack_frames` made. Raises ValueError."""
    if len(payload) < 4:
        raise ValueError(f"payload of {len(payload)} bytes, expected at least 4")
    (count,) = struct.unpack_from("<I", payload)
    start = 4 * (1 + count)
    if start > len(payload):
        raise ValueError(f"{count} frames announced in a payload of {len(payload)} bytes")
    sizes = struct.unpack_from(f"<{count}I", payload, 4)
    if start + sum(sizes) != len(payload):
        raise ValueError(f"frames need {start + sum(sizes)} bytes, the payload has {len(payload)}")
    frames = []
    for size in sizes:
        frames.append(payload[start : start + size])
        start += size
    return frames


def _index(frames: Sequence[Frame]) -> bytes:
    """How many frames there are, and their sizes in bytes."""
    sizes = [memoryview(frame).nbytes for frame in frames]
    return struct.pack(f"<{1 + len(sizes)}I", len(sizes), *sizes)


def _read_one(file: BinaryIO, offset: int, end: int) -> tuple[list[bytes], int]:
    """Frames and size in bytes of the record at `offset`."""
    file.seek(offset)
    header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        raise TornTail(offset, f"{len(header)} bytes of a {HEADER_BYTES}-byte header")
    magic, length, payload_crc, header_crc = _HEADER.unpack(header)
    if magic != MAGIC or zlib.crc32(header[:12]) != header_crc:
        if not any(header) and _zeros_to_end(file):
            # After a power loss some file systems show space that was reserved and never written.
            raise TornTail(offset, f"{end - offset} zero bytes to the end of the file")
        raise CorruptRecord(offset, f"header {header.hex()} does not check")
    if length > MAX_RECORD_BYTES:
        raise CorruptRecord(offset, f"length {length}, at most {MAX_RECORD_BYTES} expected")
    if offset + HEADER_BYTES + length > end:
        found = end - offset - HEADER_BYTES
        raise TornTail(offset, f"{found} bytes of a {length}-byte payload")
    payload = file.read(length)
    if zlib.crc32(payload) != payload_crc:
        raise CorruptRecord(offset, f"CRC of the {length}-byte payload does not check")
    try:
        return unpack_frames(payload), HEADER_BYTES + length
    except ValueError as error:
        raise CorruptRecord(offset, str(error)) from error


def _zeros_to_end(file: BinaryIO) -> bool:
    while block := file.read(1 << 20):
        if any(block):
            return False
    return True
