"""Chunks as frames: a msgpack header and one array frame per column. Decoding is validation.

Frame 0 is a msgpack map, so that it can be read from any language and unpacking it runs no code;
frames 1.. hold the columns in the header's order, C order, little endian, images mostly in fewer
bytes (images.py). The archive and the journal store these same frames, so what was validated once
is what lies on the disk.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np

from daydreamer.wire.headers import (
    MAX_CHUNK_BYTES,
    PROTOCOL,
    Frame,
    ProtocolMismatch,
    WireError,
    brief,
    check_count,
    column_text,
    nbytes,
    read_columns,
    read_header,
    schema_differences,
    write_columns,
)
from daydreamer.wire.images import ZSTD_DELTA, is_image, restore, shrink
from daydreamer.wire.names import is_name
from daydreamer.wire.rows import ALLOWED_DTYPES, SCRIPTED, Array, Chunk, Column, Schema

__all__ = ["MAX_ROWS", "ProtocolMismatch", "WireError", "decode_chunk", "encode_chunk"]

MAX_ROWS = 4096  # rows in a chunk

_KEYS_1 = {
    *("protocol", "type", "run", "actor", "session"),
    *("sequence", "episode", "first_row", "rows", "columns"),
}
_KEYS = {1: _KEYS_1, PROTOCOL: {*_KEYS_1, "encodings"}}
_DTYPES = {name: np.dtype(name) for name in ALLOWED_DTYPES}
_LITTLE = {name: dtype.newbyteorder("<") for name, dtype in _DTYPES.items()}


def encode_chunk(chunk: Chunk, schema: Schema | None = None) -> list[bytes]:
    """Frames of a chunk: msgpack header, then one frame per column.

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
    header: dict[str, Any] = {
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
        "encodings": {},
    }
    frames = [msgpack.packb(header)]
    frames += [a.astype(a.dtype.newbyteorder("<"), copy=False).tobytes() for a in arrays.values()]
    decode_chunk(frames, schema)  # before images are encoded: they need not be decoded to see
    for at, (name, array) in enumerate(arrays.items(), start=1):
        if is_image(Column(array.dtype.name, array.shape[1:])):
            shrunk = shrink(array)
            if shrunk is not None:
                header["encodings"][name], frames[at] = ZSTD_DELTA, shrunk
    if header["encodings"]:
        frames[0] = msgpack.packb(header)
    return frames


def decode_chunk(frames: Sequence[Frame], schema: Schema | None = None) -> Chunk:
    """Check the frames of a chunk and view them as arrays, read-only and mostly without a copy.

    With a schema: also the same columns, dtypes and shapes, and rows of one episode only.
    Raises WireError.
    """
    header = read_header(frames, "chunk")
    keys = _KEYS[header["protocol"]]
    if set(header) != keys:
        raise WireError(f"chunk header has keys {sorted(header)}, expected {sorted(keys)}")
    run, actor, session = header["run"], header["actor"], header["session"]
    if not isinstance(run, str) or len(run) > 1024:
        raise WireError(f"run is {brief(run)}, expected a text of at most 1024 characters")
    for key in ("actor", "session"):
        if not is_name(header[key]):
            raise WireError(f"{key} is {brief(header[key])}, expected 1 to 64 of A-Z a-z 0-9 . _ -")
    for key in ("sequence", "episode", "first_row"):
        check_count(header[key], key)
    rows = check_count(header["rows"], "rows", low=1, high=MAX_ROWS)
    columns = _columns(header["columns"], schema)
    encodings = _encodings(header.get("encodings", {}), columns)
    if len(frames) != 1 + len(columns):
        raise WireError(f"{len(frames) - 1} array frames found, {len(columns)} columns announced")
    # All sizes are checked, in Python's unbounded integers, before numpy sees a single byte.
    sizes = [rows * math.prod(c.shape) * _DTYPES[c.dtype].itemsize for c in columns.values()]
    if sum(sizes) > MAX_CHUNK_BYTES:
        raise WireError(
            f"chunk of {sum(sizes)} bytes announced, at most {MAX_CHUNK_BYTES} expected"
        )
    for (name, column), frame, size in zip(columns.items(), frames[1:], sizes, strict=True):
        if name in encodings:
            if nbytes(frame) > size:
                raise WireError(f"column {name!r} has {nbytes(frame)} bytes encoded, {size} plain")
        elif nbytes(frame) != size:
            raise WireError(
                f"column {name!r} has {nbytes(frame)} bytes, expected {size} for "
                f"({rows}, *{column.shape}) {column.dtype}"
            )
    arrays = {
        name: _restored(name, column, rows, frame)
        if name in encodings
        else _view(name, column, rows, frame)
        for (name, column), frame in zip(columns.items(), frames[1:], strict=True)
    }
    chunk = Chunk(
        run, actor, session, header["sequence"], header["episode"], header["first_row"], arrays
    )
    if schema is not None:
        _check_flow(chunk)
    return chunk


def _columns(entries: object, schema: Schema | None) -> Schema:
    """The columns of a chunk, which are those of the schema if there is one. Raises WireError."""
    if schema is not None and entries == write_columns(schema):
        return schema
    columns = read_columns(entries)
    if schema is not None and (differences := schema_differences(columns, schema)):
        raise WireError("columns differ from the schema: " + "; ".join(differences))
    return columns


def _encodings(entries: object, columns: Schema) -> Mapping[str, str]:
    """The columns that are encoded, and how: {name: ZSTD_DELTA}. Raises WireError."""
    if not isinstance(entries, dict):
        raise WireError(f"encodings are {brief(entries)}, expected a map from column to encoding")
    for name, encoding in entries.items():
        column = columns.get(name)
        if column is None or not is_image(column) or encoding != ZSTD_DELTA:
            raise WireError(
                f"column {brief(name)} is {column_text(column)} encoded as {brief(encoding)}, "
                f"expected {ZSTD_DELTA!r} of images"
            )
    return entries


def _restored(name: str, column: Column, rows: int, frame: Frame) -> Array:
    """(rows, *shape) read-only array of an encoded frame; its size has been bounded."""
    try:
        array = restore(frame, (rows, *column.shape))
    except ValueError as error:
        raise WireError(f"column {name!r} cannot be decoded: {error}") from error
    array.setflags(write=False)
    return array


def _view(name: str, column: Column, rows: int, frame: Frame) -> Array:
    """(rows, *shape) read-only view of a frame whose size has been checked."""
    if column.dtype == "bool" and bytes(frame).strip(b"\0\1"):
        raise WireError(f"column {name!r} holds bytes other than 0 and 1, expected bool")
    array: Array = np.frombuffer(frame, _LITTLE[column.dtype]).reshape(rows, *column.shape)
    if sys.byteorder == "big":
        array = array.astype(_DTYPES[column.dtype])
    array.setflags(write=False)
    # log_* columns are plotted, never trained on: a missing reading may be NaN there.
    if array.dtype.kind == "f" and not name.startswith("log_") and not np.isfinite(array).all():
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
