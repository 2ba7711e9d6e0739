from __future__ import annotations

from pathlib import Path

from daydreamer.wire.codec import decode_chunk
from daydreamer.wire.journal import Journal
from daydreamer.wire.messages import ChunkMessage, Lost
from daydreamer.wire.outbox import Outbox
from tests.wire.bench import SCHEMA, make_chunk


def outbox(folder: Path, window: int = 4, quota_bytes: int | None = None) -> Outbox:
    return Outbox(Journal(folder, quota_bytes, fsync=False), SCHEMA, window)


def sent(box: Outbox) -> list[tuple[str, int] | Lost]:
    """Send all that may be sent now."""
    out: list[tuple[str, int] | Lost] = []
    while (message := box.peek()) is not None:
        box.advance()
        if isinstance(message, ChunkMessage):
            chunk = decode_chunk(message.frames)
            out.append((chunk.session, chunk.sequence))
        else:
            out.append(message)
    return out


def test_window_bounds_what_is_in_flight(tmp_path: Path) -> None:
    box = outbox(tmp_path, window=2)
    for sequence in range(5):
        box.add(make_chunk(sequence))
    assert sent(box) == [("s1", 0), ("s1", 1)]
    assert box.acked("s1", 0)
    assert sent(box) == [("s1", 2)]
    assert not box.acked("s1", 0)
    assert box.acked("s1", 4)
    assert (box.in_flight, box.stored, sent(box)) == (0, 5, [])


def test_older_sessions_are_sent_first(tmp_path: Path) -> None:
    old = outbox(tmp_path)
    old.add(make_chunk(7, "s0"))
    box = outbox(tmp_path)
    box.add(make_chunk(0, "s1"))
    box.welcome({"s0": 6, "s1": -1})
    assert sent(box) == [("s0", 7), ("s1", 0)]


def test_welcome_forgets_what_is_stored_and_sends_the_rest_again(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    for sequence in range(4):
        box.add(make_chunk(sequence))
    assert len(sent(box)) == 4
    box.welcome({"s1": 1})
    assert sent(box) == [("s1", 2), ("s1", 3)]


def test_late_acknowledgements_after_a_rewind_leave_no_false_hole(tmp_path: Path) -> None:
    box = outbox(tmp_path, window=8)
    for sequence in range(6):
        box.add(make_chunk(sequence))
    box.welcome({"s1": -1})
    sent(box)
    box.rewind()
    assert isinstance(box.peek(), ChunkMessage)
    box.advance()
    box.acked("s1", 3)
    assert sent(box) == [("s1", 4), ("s1", 5)]


def test_hole_in_the_journal_is_declared_lost(tmp_path: Path) -> None:
    box = outbox(tmp_path, window=8)
    for sequence in range(6):
        box.add(make_chunk(sequence))
    box.welcome({"s1": 0})
    assert box.refused("s1", 2)
    assert box.refused("s1", 3)
    assert sent(box) == [("s1", 1), Lost("s1", 2, 3), ("s1", 4), ("s1", 5)]
    box.rewind()
    (tmp_path / "s1" / "000000000004.chunk").write_bytes(b"garbage")
    assert sent(box) == [("s1", 1), Lost("s1", 2, 3), Lost("s1", 4, 4), ("s1", 5)]


def test_session_that_the_learner_was_not_asked_about_declares_nothing(tmp_path: Path) -> None:
    box = outbox(tmp_path)
    box.add(make_chunk(9))
    assert sent(box) == [("s1", 9)]
    box.acked("s1", 5)  # the learner's answer to a gap
    box.rewind()
    assert sent(box) == [Lost("s1", 6, 8), ("s1", 9)]
