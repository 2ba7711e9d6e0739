from __future__ import annotations

import io
from pathlib import Path

import pytest

from daydreamer.wire.records import (
    MAX_RECORD_BYTES,
    CorruptRecord,
    RecordError,
    TornTail,
    find_record,
    pack_frames,
    read_record,
    read_records,
    unpack_frames,
    write_record,
)

FRAMES = [[b"header", b"\1\2\3"], [b""], [b"x" * 50, b"", b"y"]]


def written() -> tuple[io.BytesIO, list[int]]:
    """A file with all of FRAMES, and where each record ends."""
    file, ends = io.BytesIO(), []
    for frames in FRAMES:
        write_record(file, frames)
        ends.append(file.tell())
    return file, ends


def read_until_error(data: bytes) -> tuple[list[list[bytes]], RecordError | None]:
    found: list[list[bytes]] = []
    try:
        for _, frames in read_records(io.BytesIO(data)):
            found.append(frames)
    except RecordError as error:
        return found, error
    return found, None


def test_records_come_back_in_order_with_their_offsets(tmp_path: Path) -> None:
    _, ends = written()
    path = tmp_path / "records"
    with path.open("wb", buffering=0) as raw:
        sizes = [write_record(raw, frames) for frames in FRAMES]
    assert [sum(sizes[: i + 1]) for i in range(3)] == ends
    with path.open("rb") as file:
        assert list(read_records(file)) == list(zip([0, *ends[:-1]], FRAMES, strict=True))
        assert read_record(file, ends[0]) == FRAMES[1]
        assert [frames for _, frames in read_records(file, ends[1])] == FRAMES[2:]


def test_file_cut_anywhere_is_a_torn_tail_after_whole_records() -> None:
    file, ends = written()
    data = file.getvalue()
    for cut in range(len(data)):
        whole = sum(end <= cut for end in ends)
        found, error = read_until_error(data[:cut])
        assert found == FRAMES[:whole]
        if cut in (0, *ends):
            assert error is None
        else:
            assert isinstance(error, TornTail)
            assert error.offset == [0, *ends][whole]


def test_damage_anywhere_before_the_last_record_is_never_taken_for_a_torn_tail() -> None:
    file, ends = written()
    data = file.getvalue()
    for at in range(ends[1]):
        damaged = bytearray(data)
        damaged[at] ^= 0x40
        found, error = read_until_error(bytes(damaged))
        assert isinstance(error, CorruptRecord)
        assert found == FRAMES[: sum(end <= at for end in ends)]


def test_zeros_that_a_power_loss_left_at_the_end_are_a_torn_tail() -> None:
    file, ends = written()
    found, error = read_until_error(file.getvalue() + bytes(5000))
    assert found == FRAMES
    assert isinstance(error, TornTail)
    assert error.offset == ends[-1]
    found, error = read_until_error(file.getvalue() + bytes(5000) + b"\1")
    assert isinstance(error, CorruptRecord)


def test_repair_finds_the_next_intact_record() -> None:
    file, ends = written()
    data = bytearray(file.getvalue())
    data[20] ^= 1  # in the first record's payload
    damaged = io.BytesIO(b"DDR1" + bytes(3) + bytes(data))
    assert find_record(damaged, 0) == 7 + ends[0]
    assert find_record(damaged, 7 + ends[0] + 1) == 7 + ends[1]
    assert find_record(damaged, 7 + ends[1] + 1) is None


def test_frames_that_do_not_add_up_are_refused() -> None:
    assert unpack_frames(pack_frames(FRAMES[0])) == FRAMES[0]
    for payload in (b"", b"\xff\xff\xff\xff", pack_frames([b"ab"]) + b"c"):
        with pytest.raises(ValueError, match=r"payload|frames"):
            unpack_frames(payload)


def test_record_too_large_to_be_read_back_is_not_written() -> None:
    file = io.BytesIO()
    with pytest.raises(ValueError, match="at most"):
        write_record(file, [bytes(MAX_RECORD_BYTES)])
    assert file.getvalue() == b""
