from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from daydreamer.wire.codec import WireError, decode_chunk, encode_chunk
from daydreamer.wire.images import ZSTD_DELTA, restore, shrink
from daydreamer.wire.rows import Chunk

SHAPE = (5, 16, 24, 3)


def scene() -> np.ndarray:
    """A bright square that moves over a smooth background: (5, 16, 24, 3)."""
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    images = np.repeat((3 * rows + 2 * columns)[None, ..., None], SHAPE[0], 0).repeat(3, -1)
    for n in range(SHAPE[0]):
        images[n, 4:9, 3 * n : 3 * n + 5] = 250
    return images.astype(np.uint8)


def chunk(**columns: np.ndarray) -> Chunk:
    return Chunk("run", "a1", "s1", 0, 0, 0, {"image": scene(), **columns})


def frames_with(frame: bytes | None = None, **encodings: Any) -> list[bytes]:
    """An encoded chunk with a small vector, its image frame or its encodings replaced."""
    good = encode_chunk(chunk(vector=np.zeros((5, 3), np.float32)))
    header = msgpack.unpackb(good[0])
    header["encodings"].update(encodings)
    return [msgpack.packb(header), good[1] if frame is None else frame, *good[2:]]


PACKED = encode_chunk(chunk())[1]


def test_images_come_back_exactly_from_fewer_bytes() -> None:
    frames = encode_chunk(chunk())
    assert msgpack.unpackb(frames[0])["encodings"] == {"image": ZSTD_DELTA}
    assert len(frames[1]) < scene().nbytes / 5
    back = decode_chunk(frames).columns["image"]
    np.testing.assert_array_equal(back, scene(), strict=True)
    assert not back.flags.writeable


@settings(max_examples=50, deadline=None)
@given(
    arrays(np.uint8, st.tuples(*[st.integers(1, 6)] * 4), elements=st.integers(0, 255)),
    st.booleans(),
)
def test_any_image_survives(images: np.ndarray, fortran: bool) -> None:
    packed = shrink(np.asfortranarray(images) if fortran else images)
    if packed is not None:
        np.testing.assert_array_equal(restore(packed, images.shape), images, strict=True)


def test_differences_wrap_around() -> None:
    images = np.zeros(SHAPE, np.uint8)
    images[1::2] = 255
    packed = shrink(images)
    assert packed is not None
    np.testing.assert_array_equal(restore(packed, SHAPE), images)


def test_noise_travels_plain() -> None:
    noise = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    frames = encode_chunk(chunk(image=noise))
    assert msgpack.unpackb(frames[0])["encodings"] == {}
    assert frames[1] == noise.tobytes()


def test_only_images_are_encoded() -> None:
    zeros = {name: np.zeros((5, 40, 40), name) for name in ("uint8", "float32")}
    frames = encode_chunk(chunk(**zeros))
    assert msgpack.unpackb(frames[0])["encodings"].keys() == {"image"}


def zstd(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


MALFORMED = {
    "unknown encoding": (frames_with(image="jpeg"), "encoded as 'jpeg'"),
    "encoding is a list": (frames_with(image=[ZSTD_DELTA]), "encoded as ['zstd-delta']"),
    "no image": (frames_with(vector=ZSTD_DELTA), "float32[3] encoded as"),
    "no column": (frames_with(depth=ZSTD_DELTA), "is nothing encoded as"),
    "not zstd": (frames_with(b"\0" * 40), "cannot be decoded"),
    "empty": (frames_with(b""), "cannot be decoded"),
    "cut short": (frames_with(PACKED[:-1]), "cannot be decoded"),
    "more behind it": (frames_with(PACKED + b"\0"), "cannot be decoded"),
    "more than the plain image": (frames_with(b"\0" * (scene().nbytes + 1)), "bytes encoded"),
    "a bomb": (frames_with(zstd(bytes(1 << 26))), "content of 67108864 bytes announced"),
    "too little": (frames_with(zstd(bytes(100))), "content of 100 bytes announced, 5760 expected"),
    "of unknown size": (frames_with(zstd(bytes(5760), write_content_size=False)), "-1 bytes"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_images_are_refused(case: str) -> None:
    frames, says = MALFORMED[case]
    with pytest.raises(WireError) as refusal:
        decode_chunk(frames)
    assert says in str(refusal.value)


def test_a_size_that_lies_is_refused() -> None:
    # Bytes 5 and 6 of a frame this small hold the size of its content, less 256.
    honest = zstd(bytes(100 + 256))
    lying = honest[:5] + (5760 - 256).to_bytes(2, "little") + honest[7:]
    assert zstandard.frame_content_size(lying) == 5760
    with pytest.raises(WireError, match="cannot be decoded"):
        decode_chunk(frames_with(lying))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_images_decode_or_raise_a_wire_error(data: st.DataObject) -> None:
    frame = bytearray(PACKED)
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    try:
        back = decode_chunk(frames_with(bytes(frame)))
    except WireError:
        return
    assert back.columns["image"].shape == SHAPE
