"""Chunks as frames: a msgpack header and one raw array frame per column. Decoding is validation.

Frame 0 is a msgpack map, so that it can be read from any language and unpacking it runs no code;
frames 1.. hold the columns in the header's order, C order, little endian. The archive and the
journal store these same frames, so what was validated once is what lies on the disk.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgpack
import numpy as np

from daydreamer.wire.names import is_name
from daydreamer.wire.rows import ALLOWED_DTYPES, SCRIPTED, Array, Chunk, Column, Schema

PROTOCOL = 1  # raise it when a message changes; both machines are then upgraded together

MAX_ROWS = 4096  # rows in a chunk
MAX_CHUNK_BYTES = 64 << 20  # array bytes in a chunk: 4096 rows of one 64 x 64 x 4 image
MAX_HEADER_BYTES = 1 << 20
MAX_COLUMNS = 512
MAX_DIMS = 4
MAX_COUNT = 2**62  # sequence, episode, row and version counters

Frame: TypeAlias = bytes | memoryview
_HEADER_KEYS = {
    *("protocol", "type", "run", "actor", "session"),
    *("sequence", "episode", "first_row", "rows", "columns"),
}


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


def encode_chunk(chunk: Chunk, schema: Schema | None = None) -> list[bytes]:
    """Frames of a chunk: msgpack header, then one raw frame per column.

    Raises WireError for a chunk that `decode_chunk(frames, schema)` would refuse, so that a fault
    shows on the machine that made it.
    """
    if not chunk.columns:
        raise WireError("a chunk without columns; at least one was expected")
    arrays = {name: np.asarray(array) for name, array in chunk.columns.items()}
    for name, array in arrays.items():
        if array.dtype.name not in ALLOWED_DTYPES:
            raise WireError(
                f"column {name!r} has dtype {array.dtype}, expected one of {ALLOWED_DTYPES}"
            )
        if array.ndim < 1:
            raise WireError(f"column {name!r} is a scalar, expected an array of shape (rows, ...)")
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) != 1:
        raise WireError(f"columns differ in rows: {rows}")
    header = {
        "protocol": PROTOCOL,
        "type": "chunk",
        "run": chunk.run,
        "actor": chunk.actor,
        "session": chunk.session,
        "sequence": int(chunk.sequence),
        "episode": int(chunk.episode),
        "first_row": int(chunk.first_row),
        "rows": next(iter(rows.values())),
        "columns": [[name, a.dtype.name, list(a.shape[1:])] for name, a in arrays.items()],
    }
    frames = [msgpack.packb(header)]
    frames += [a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes() for a in arrays.values()]
    decode_chunk(frames, schema)
    return frames


def decode_chunk(frames: Sequence[Frame], schema: Schema | None = None) -> Chunk:
    """Check the frames of a chunk and view them as arrays, read-only and without a copy.

    With a schema: also the same columns, dtypes and shapes, and rows of one episode only.
    Raises WireError.
    """
    header = read_header(frames, "chunk")
    if set(header) != _HEADER_KEYS:
        raise WireError(f"chunk header has keys {sorted(header)}, expected {sorted(_HEADER_KEYS)}")
    run, actor, session = header["run"], header["actor"], header["session"]
    if not isinstance(run, str) or len(run) > 1024:
        raise WireError(f"run is {brief(run)}, expected a text of at most 1024 characters")
    for key in ("actor", "session"):
        if not is_name(header[key]):
            raise WireError(f"{key} is {brief(header[key])}, expected 1 to 64 of A-Z a-z 0-9 . _ -")
    for key in ("sequence", "episode", "first_row"):
        check_count(header[key], key)
    rows = check_count(header["rows"], "rows", low=1, high=MAX_ROWS)
    columns = read_columns(header["columns"])
    if len(frames) != 1 + len(columns):
        raise WireError(f"{len(frames) - 1} array frames found, {len(columns)} columns announced")
    # All sizes are checked, in Python's unbounded integers, before numpy sees a single byte.
    sizes = [rows * math.prod(c.shape) * np.dtype(c.dtype).itemsize for c in columns.values()]
    if sum(sizes) > MAX_CHUNK_BYTES:
        raise WireError(
            f"chunk of {sum(sizes)} bytes announced, at most {MAX_CHUNK_BYTES} expected"
        )
    for (name, column), frame, size in zip(columns.items(), frames[1:], sizes, strict=True):
        if _nbytes(frame) != size:
            raise WireError(
                f"column {name!r} has {_nbytes(frame)} bytes, expected {size} for "
                f"({rows}, *{column.shape}) {column.dtype}"
            )
    if schema is not None and (differences := schema_differences(columns, schema)):
        raise WireError("columns differ from the schema: " + "; ".join(differences))
    arrays = {
        name: _view(name, column, rows, frame)
        for (name, column), frame in zip(columns.items(), frames[1:], strict=True)
    }
    chunk = Chunk(
        run, actor, session, header["sequence"], header["episode"], header["first_row"], arrays
    )
    if schema is not None:
        _check_flow(chunk)
    return chunk


def read_header(frames: Sequence[Frame], kind: str | None = None) -> dict[str, Any]:
    """The msgpack map in frame 0, with its protocol and type checked. Raises WireError."""
    if not frames:
        raise WireError("an empty message, expected at least a header frame")
    if _nbytes(frames[0]) > MAX_HEADER_BYTES:
        raise WireError(
            f"header of {_nbytes(frames[0])} bytes, at most {MAX_HEADER_BYTES} expected"
        )
    try:
        header = msgpack.unpackb(frames[0], raw=False, strict_map_key=True)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"header is not msgpack ({type(error).__name__}: {error})") from error
    if not isinstance(header, dict) or not all(isinstance(key, str) for key in header):
        raise WireError(f"header is {brief(header)}, expected a map with text keys")
    protocol = header.get("protocol")
    if isinstance(protocol, bool) or protocol != PROTOCOL:
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
            lines.append(
                f"column {name!r}: {found_is} {_column(left)}, {expected_is} {_column(right)}"
            )
    return lines


def check_count(value: object, what: str, low: int = 0, high: int = MAX_COUNT) -> int:
    """The value as an integer within [low, high]. Raises WireError naming `what`."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise WireError(f"{what} is {brief(value)}, expected an integer within [{low}, {high}]")
    return value


def _view(name: str, column: Column, rows: int, frame: Frame) -> Array:
    """(rows, *shape) read-only view of a frame whose size has been checked."""
    dtype = np.dtype(column.dtype)
    if column.dtype == "bool" and np.any(np.frombuffer(frame, np.uint8) > 1):
        raise WireError(f"column {name!r} holds bytes other than 0 and 1, expected bool")
    array = np.frombuffer(frame, dtype.newbyteorder("<")).reshape(rows, *column.shape)
    array = array.astype(dtype, copy=False)  # a copy on big-endian machines only
    array.setflags(write=False)
    # log_* columns are plotted, never trained on: a missing reading may be NaN there.
    if dtype.kind == "f" and not name.startswith("log_") and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0, 0])
        raise WireError(f"column {name!r} is not finite in row {row}, expected finite numbers")
    return array


def _check_flow(chunk: Chunk) -> None:
    """Rows of one episode: is_first at its start, is_last at its end. Raises WireError."""
    columns: Mapping[str, Array] = chunk.columns
    if (first := columns.get("is_first")) is not None:
        if first[1:].any():
            raise WireError(
                "is_first is set after the chunk's first row: a chunk has one episode's rows"
            )
        if bool(first[0]) != (chunk.first_row == 0):
            raise WireError(
                f"is_first is {bool(first[0])} in a chunk with first_row={chunk.first_row}; "
                "expected it exactly where first_row=0"
            )
    if (last := columns.get("is_last")) is not None:
        if last[:-1].any():
            raise WireError(
                "is_last is set before the chunk's last row: a chunk has one episode's rows"
            )
        if (terminal := columns.get("is_terminal")) is not None and (terminal & ~last).any():
            raise WireError(
                "is_terminal without is_last; expected both where the episode terminates"
            )
    if (version := columns.get("policy_version")) is not None and (version < -1).any():
        raise WireError(f"policy_version {version.min()} found, expected -1 or more")
    if (who := columns.get("actor")) is not None and (who > SCRIPTED).any():
        raise WireError(f"actor code {who.max()} found, expected at most {SCRIPTED}")


def _nbytes(frame: Frame) -> int:
    return frame.nbytes if isinstance(frame, memoryview) else len(frame)


def _column(column: Column | None) -> str:
    return "nothing" if column is None else f"{column.dtype}{list(column.shape)}"


def brief(value: object) -> str:
    """At most 80 characters that show a value in an error message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
