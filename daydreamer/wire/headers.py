"""Frame 0 of every message: a msgpack map, read with bounds. What is wrong is a WireError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgpack

from daydreamer.wire.rows import ALLOWED_DTYPES, Column, Schema

PROTOCOL = 2  # raise it when a message changes; both machines are then upgraded together
# Chunks of these lie in archives and journals and can still be read. 1: no "encodings".
READABLE_CHUNKS = (1, PROTOCOL)

MAX_CHUNK_BYTES = 64 << 20  # array bytes in a chunk: 4096 rows of one 64 x 64 x 4 image
MAX_HEADER_BYTES = 1 << 20
MAX_COLUMNS = 512
MAX_DIMS = 4
MAX_COUNT = 2**62  # sequence, episode, row and version counters

Frame: TypeAlias = bytes | memoryview


class WireError(ValueError):
    """Malformed input: the message says what was found and what was expected."""


class ProtocolMismatch(WireError):  # noqa: N818 - it is read as "refused: protocol mismatch"
    """The other side speaks another version of the protocol."""

    def __init__(self, found: object) -> None:
        self.found = found
        super().__init__(
            f"protocol {found!r} found, {PROTOCOL} expected: "
            "install the same release on both machines"
        )


def read_header(frames: Sequence[Frame], kind: str | None = None) -> dict[str, Any]:
    """The msgpack map in frame 0, with its protocol and type checked. Raises WireError."""
    if not frames:
        raise WireError("an empty message, expected at least a header frame")
    if nbytes(frames[0]) > MAX_HEADER_BYTES:
        raise WireError(f"header of {nbytes(frames[0])} bytes, at most {MAX_HEADER_BYTES} expected")
    try:
        header = msgpack.unpackb(frames[0], raw=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"header is not msgpack ({type(error).__name__}: {error})") from error
    if not isinstance(header, dict) or not all(isinstance(key, str) for key in header):
        raise WireError(f"header is {brief(header)}, expected a map with text keys")
    protocol = header.get("protocol")
    readable = READABLE_CHUNKS if header.get("type") == "chunk" else (PROTOCOL,)
    if not isinstance(protocol, int) or isinstance(protocol, bool) or protocol not in readable:
        raise ProtocolMismatch(protocol)
    if not isinstance(header.get("type"), str):
        raise WireError(f"message type is {brief(header.get('type'))}, expected a text")
    if kind is not None and header["type"] != kind:
        raise WireError(f"message type is {brief(header['type'])}, expected {kind!r}")
    return header


def read_columns(entries: object) -> dict[str, Column]:
    """Columns from their wire form [[name, dtype, [dim, ...]], ...]. Raises WireError."""
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_COLUMNS:
        raise WireError(f"columns are {brief(entries)}, expected a list of 1 to {MAX_COLUMNS}")
    columns: dict[str, Column] = {}
    for entry in entries:
        if not isinstance(entry, list) or len(entry) != 3:
            raise WireError(f"column is {brief(entry)}, expected [name, dtype, shape]")
        name, dtype, shape = entry
        if not isinstance(name, str) or not 1 <= len(name) <= 128 or not name.isprintable():
            raise WireError(f"column name is {brief(name)}, expected 1 to 128 printable characters")
        if name in columns:
            raise WireError(f"column {name!r} appears twice")
        if dtype not in ALLOWED_DTYPES:
            raise WireError(
                f"column {name!r} has dtype {brief(dtype)}, expected one of {ALLOWED_DTYPES}"
            )
        if not isinstance(shape, list) or len(shape) > MAX_DIMS:
            raise WireError(
                f"column {name!r} has shape {brief(shape)}, expected up to {MAX_DIMS} dims"
            )
        dims = [
            check_count(dim, f"shape of {name!r}", low=1, high=MAX_CHUNK_BYTES) for dim in shape
        ]
        columns[name] = Column(dtype, tuple(dims))
    return columns


def write_columns(schema: Schema) -> list[list[Any]]:
    """The wire form that `read_columns` reads."""
    return [[name, column.dtype, list(column.shape)] for name, column in schema.items()]


def schema_differences(
    found: Schema, expected: Schema, found_is: str = "found", expected_is: str = "expected"
) -> list[str]:
    """Readable lines, one per column in which two schemas differ; empty when they agree."""
    lines = []
    for name in sorted(found.keys() | expected.keys()):
        left, right = found.get(name), expected.get(name)
        if left != right:
            found_text, expected_text = column_text(left), column_text(right)
            lines.append(f"column {name!r}: {found_is} {found_text}, {expected_is} {expected_text}")
    return lines


def check_count(value: object, what: str, low: int = 0, high: int = MAX_COUNT) -> int:
    """The value as an integer within [low, high]. Raises WireError naming `what`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise WireError(f"{what} is {brief(value)}, expected an integer within [{low}, {high}]")
    return value


def nbytes(frame: Frame) -> int:
    """Size of a frame in bytes."""
    return frame.nbytes if isinstance(frame, memoryview) else len(frame)


def column_text(column: Column | None) -> str:
    """A column in an error message: dtype and shape."""
    return "nothing" if column is None else f"{column.dtype}{list(column.shape)}"


def brief(value: object) -> str:
    """At most 80 characters that show a value in an error message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
