from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daydreamer.wire.codec import (
    MAX_ROWS,
    ProtocolMismatch,
    WireError,
    decode_chunk,
    encode_chunk,
)
from daydreamer.wire.rows import Chunk, Column

SCHEMA = {
    "vector": Column("float32", (3,)),
    "action": Column("float32", (2,)),
    "is_first": Column("bool", ()),
    "is_last": Column("bool", ()),
    "is_terminal": Column("bool", ()),
    "policy_version": Column("int64", ()),
    "actor": Column("uint8", ()),
    "log_speed": Column("float32", ()),
}


def make(rows: int = 4, first_row: int = 0, **columns: Any) -> Chunk:
    arrays = {name: np.zeros((rows, *c.shape), c.dtype) for name, c in SCHEMA.items()}
    arrays["vector"] += np.arange(rows, dtype=np.float32)[:, None]
    arrays["is_first"][0] = first_row == 0
    return Chunk("run", "a1", "s1", 7, 2, first_row, {**arrays, **columns})


def with_header(**changes: Any) -> list[bytes]:
    """Frames of a good chunk, its header edited; a value of ... removes the key."""
    frames = encode_chunk(make())
    header = {**msgpack.unpackb(frames[0]), **changes}
    packed = msgpack.packb({key: value for key, value in header.items() if value is not ...})
    return [packed, *frames[1:]]


def with_column(index: int, value: Any) -> list[bytes]:
    columns = msgpack.unpackb(encode_chunk(make())[0])["columns"]
    columns[index] = value
    return with_header(columns=columns)


def test_chunk_comes_back_as_it_was_sent() -> None:
    chunk = make(first_row=8)
    back = decode_chunk(encode_chunk(chunk, SCHEMA), SCHEMA)
    assert (back.run, back.actor, back.session) == ("run", "a1", "s1")
    assert (back.sequence, back.episode, back.first_row, len(back)) == (7, 2, 8, 4)
    assert back.columns.keys() == chunk.columns.keys()
    for name, array in chunk.columns.items():
        np.testing.assert_array_equal(back.columns[name], array, strict=True)


def test_arrays_are_little_endian_and_in_c_order_on_the_wire() -> None:
    odd = np.asfortranarray(np.arange(12, dtype=">f4").reshape(4, 3))
    frames = encode_chunk(make(vector=odd))
    assert frames[1] == np.arange(12, dtype="<f4").tobytes()


def test_decoded_arrays_cannot_be_changed() -> None:
    array = decode_chunk(encode_chunk(make())).columns["vector"]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


MALFORMED = {
    "no frames": ([], "empty message"),
    "header is not msgpack": ([b"\xc1"], "not msgpack"),
    "header is cut short": ([encode_chunk(make())[0][:-3]], "not msgpack"),
    "header is a list": ([msgpack.packb([1])], "expected a map"),
    "header has numbers as keys": ([msgpack.packb({1: 2})], "not msgpack"),
    "header is nested too deep": ([b"\x91" * 100_000], "not msgpack"),
    "header announces more than it has": ([b"\xdd\xff\xff\xff\xff"], "not msgpack"),
    "header is huge": ([b"\0" * (2 << 20)], "at most"),
    "another protocol": (with_header(protocol=99), "protocol 99"),
    "another type": (with_header(type="hello"), "expected 'chunk'"),
    "key missing": (with_header(session=...), "header has keys"),
    "key too many": (with_header(extra=1), "header has keys"),
    "session climbs out": (with_header(session="../../etc"), "session is"),
    "actor is empty": (with_header(actor=""), "actor is"),
    "run is a number": (with_header(run=5), "run is"),
    "sequence is negative": (with_header(sequence=-1), "sequence is"),
    "sequence is a flag": (with_header(sequence=True), "sequence is"),
    "episode is huge": (with_header(episode=2**63), "episode is"),
    "no rows": (with_header(rows=0), "rows is"),
    "too many rows": (with_header(rows=MAX_ROWS + 1), "rows is"),
    "encodings missing": (with_header(encodings=...), "header has keys"),
    "encodings in the first protocol": (with_header(protocol=1), "header has keys"),
    "encodings are a list": (with_header(encodings=["vector"]), "encodings are"),
    "columns are a map": (with_header(columns={}), "columns are"),
    "no columns": (with_header(columns=[]), "columns are"),
    "column has two parts": (with_column(0, ["vector", "float32"]), "expected [name"),
    "column without a name": (with_column(0, ["", "float32", [3]]), "column name"),
    "column twice": (with_column(1, ["vector", "float32", [3]]), "twice"),
    "object dtype": (with_column(0, ["vector", "object", [3]]), "dtype 'object'"),
    "dtype is a list": (with_column(0, ["vector", ["f4"], [3]]), "dtype"),
    "shape is a number": (with_column(0, ["vector", "float32", 3]), "shape"),
    "shape has too many dims": (with_column(0, ["vector", "float32", [1] * 9]), "shape"),
    "shape is negative": (with_column(0, ["vector", "float32", [-3]]), "shape"),
    "shape overflows": (with_column(0, ["vector", "float32", [2**26] * 4]), "at most"),
    "shape does not fit": (with_column(0, ["vector", "float32", [4]]), "48 bytes, expected 64"),
    "frame missing": (encode_chunk(make())[:-1], "array frames found"),
    "frame too many": ([*encode_chunk(make()), b""], "array frames found"),
    "bool of 2": ([*encode_chunk(make())[:3], b"\2\0\0\0", *encode_chunk(make())[4:]], "bool"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_chunk_is_refused(case: str) -> None:
    frames, says = MALFORMED[case]
    with pytest.raises(WireError) as refusal:
        decode_chunk(frames)
    assert says in str(refusal.value)


def test_chunk_of_the_first_protocol_can_still_be_read() -> None:
    chunk = decode_chunk(with_header(protocol=1, encodings=...), SCHEMA)
    np.testing.assert_array_equal(chunk.columns["vector"], make().columns["vector"], strict=True)


def test_other_protocol_names_what_was_found() -> None:
    with pytest.raises(ProtocolMismatch) as refusal:
        decode_chunk(with_header(protocol="old"))
    assert refusal.value.found == "old"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_only_log_columns_may_be_non_finite(value: float) -> None:
    bad = np.zeros((4, 3), np.float32)
    bad[2, 1] = value
    with pytest.raises(WireError, match="'vector' is not finite in row 2"):
        encode_chunk(make(vector=bad))
    encode_chunk(make(log_speed=np.full(4, value, np.float32)))


def test_chunk_of_another_schema_is_refused_with_the_difference() -> None:
    other = {**SCHEMA, "vector": Column("float32", (5,)), "touch": Column("bool", ())}
    with pytest.raises(WireError) as refusal:
        decode_chunk(encode_chunk(make()), other)
    assert "column 'touch': found nothing, expected bool[]" in str(refusal.value)
    assert "column 'vector': found float32[3], expected float32[5]" in str(refusal.value)


FLOW = {
    "is_first later": ({"is_first": np.array([1, 0, 1, 0], bool)}, "is_first is set after"),
    "is_first missing": ({"is_first": np.zeros(4, bool)}, "is_first is False"),
    "is_last early": ({"is_last": np.array([0, 1, 0, 0], bool)}, "is_last is set before"),
    "terminal alone": ({"is_terminal": np.array([0, 0, 0, 1], bool)}, "without is_last"),
    "version": ({"policy_version": np.full(4, -2, np.int64)}, "policy_version -2"),
    "actor": ({"actor": np.full(4, 9, np.uint8)}, "actor code 9"),
}


@pytest.mark.parametrize("case", FLOW)
def test_chunk_holds_rows_of_one_episode(case: str) -> None:
    columns, says = FLOW[case]
    with pytest.raises(WireError, match=says):
        encode_chunk(make(**columns), SCHEMA)


def test_arrays_that_cannot_travel_are_refused_where_they_are_made() -> None:
    for columns, says in [
        ({"vector": np.zeros((4, 3), object)}, "dtype object"),
        ({"vector": np.zeros((3, 3), np.float32)}, "differ in rows"),
        ({"vector": np.float32(1)}, "is a scalar"),
    ]:
        with pytest.raises(WireError, match=says):
            encode_chunk(make(**columns))
    with pytest.raises(WireError, match="without columns"):
        encode_chunk(Chunk("run", "a1", "s1", 0, 0, 0, {}))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_random_bytes_raise_nothing_but_wire_errors(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        decode_chunk(frames, SCHEMA)


GOOD = encode_chunk(make())


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.data())
def test_damaged_chunk_decodes_or_raises_a_wire_error(index: int, data: st.DataObject) -> None:
    frame = bytearray(GOOD[index])
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    frame = frame[: data.draw(st.integers(max(0, len(frame) - 2), len(frame)))]
    try:
        chunk = decode_chunk([*GOOD[:index], bytes(frame), *GOOD[index + 1 :]], SCHEMA)
    except WireError:
        return
    assert {len(array) for array in chunk.columns.values()} == {len(chunk)}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(msgpack.unpackb(GOOD[0]))), PLAIN)
def test_any_value_in_any_header_key_decodes_or_raises_a_wire_error(key: str, value: Any) -> None:
    try:
        decode_chunk(with_header(**{key: value}), SCHEMA)
    except WireError:
        return
    assert isinstance(value, (str, int)) or value == {}
