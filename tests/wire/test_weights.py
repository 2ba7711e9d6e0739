from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from daydreamer.wire.codec import WireError
from daydreamer.wire.weights import pack_weights, unpack_weights

TENSORS: dict[str, Any] = {
    "encoder.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "scale": np.array(0.5, np.float32),
    "count": np.array([[7]], np.int64),
    "mask": np.array([True, False]),
}
BLOB = pack_weights(TENSORS, version=12, cut_time_s=1234.5)


def edit_metadata(**changes: str) -> bytes:
    (length,) = struct.unpack_from("<Q", BLOB)
    header = json.loads(BLOB[8 : 8 + length])
    header["__metadata__"].update(changes)
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + BLOB[8 + length :]


def test_weights_come_back_with_version_time_and_shapes() -> None:
    weights = unpack_weights(BLOB)
    assert (weights.version, weights.cut_time_s, len(weights.sha256)) == (12, 1234.5, 64)
    assert weights.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(weights.tensors[name], tensor, strict=True)


def test_half_the_bytes_arrive_as_float32_again() -> None:
    rng = np.random.default_rng(0)
    tensors: dict[str, Any] = {
        "w": rng.standard_normal((64, 64)).astype(np.float32),
        "tiny": np.array([1e-7, -3e-8], np.float32),  # float16 has steps of 6e-8 there
        "huge": np.array([1e5, 1.5], np.float32),  # more than float16 can hold: left as it is
        "mask": np.array([True, False]),
    }
    blob = pack_weights(tensors, 1, 0.0, half=True)
    back = unpack_weights(blob).tensors
    assert len(blob) < 0.55 * len(pack_weights(tensors, 1, 0.0))
    assert {back[name].dtype for name in ("w", "tiny", "huge")} == {np.dtype(np.float32)}
    np.testing.assert_allclose(back["w"], tensors["w"], rtol=2**-11)
    np.testing.assert_allclose(back["tiny"], tensors["tiny"], atol=2**-25)
    np.testing.assert_array_equal(back["huge"], tensors["huge"], strict=True)
    np.testing.assert_array_equal(back["mask"], tensors["mask"], strict=True)


MALFORMED = {
    "empty": (b"", "0 bytes"),
    "not safetensors": (b"PK\3\4" * 20, "header of"),
    "header is not json": (struct.pack("<Q", 4) + b"!!!!", "unreadable header"),
    "header is a list": (struct.pack("<Q", 2) + b"[]", "not a map"),
    "no metadata": (save({"a": np.ones(2, np.float32)}), "without metadata"),
    "version missing": (save({"a": np.ones(2)}, {"sha256": ""}), "unreadable metadata"),
    "version is negative": (edit_metadata(version="-3"), "version -3"),
    "time is infinite": (edit_metadata(cut_time_s="inf"), "cut at inf"),
    "another version": (edit_metadata(version="13"), "do not match their hash"),
    "another time": (edit_metadata(cut_time_s="9.0"), "do not match their hash"),
    "another hash": (edit_metadata(sha256="0" * 64), "do not match their hash"),
    "cut short": (BLOB[:-1], "not readable"),
    "one bit": (BLOB[:-1] + bytes([BLOB[-1] ^ 1]), "hash"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_bad_blob_is_refused(case: str) -> None:
    blob, says = MALFORMED[case]
    with pytest.raises(WireError) as refusal:
        unpack_weights(blob)
    assert says in str(refusal.value)


def test_weights_that_are_not_finite_are_not_published() -> None:
    for half in (False, True):
        with pytest.raises(WireError, match="'w' has 1 weights that are not finite"):
            pack_weights({"w": np.array([1, np.nan], np.float32)}, 1, 0.0, half=half)


def test_what_cannot_be_loaded_is_not_packed() -> None:
    with pytest.raises(WireError, match="no tensors"):
        pack_weights({}, 1, 0.0)
    with pytest.raises(WireError, match="dtype complex64"):
        pack_weights({"w": np.zeros(2, np.complex64)}, 1, 0.0)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(BLOB) - 1), st.integers(1, 255))
def test_no_damaged_byte_goes_unnoticed(at: int, flip: int) -> None:
    damaged = bytearray(BLOB)
    damaged[at] ^= flip
    try:
        weights = unpack_weights(bytes(damaged))
    except WireError:
        return
    # What the hash leaves out is spelling only: case of the hash, spaces in the JSON.
    for name, tensor in TENSORS.items():
        np.testing.assert_array_equal(weights.tensors[name], tensor, strict=True)
    assert weights.version == 12
