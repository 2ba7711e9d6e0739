from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daydreamer.wire import messages as m
from daydreamer.wire.codec import ProtocolMismatch, WireError
from daydreamer.wire.rows import Column

SCHEMA = {"vector": Column("float32", (16,)), "is_first": Column("bool", ())}
CONFIG: dict[str, Any] = {"task.name": "walk", "agent.size": 3, "agent.lr": 1e-4, "x": None}
MESSAGES: list[m.Message] = [
    m.Hello("a1", "s1", "abc", CONFIG, SCHEMA, ("s0", "s1")),
    m.Welcome("runs/a1", 17, {"s1": -1, "s0": 12}, False, 1234),
    m.Refused("configured differently", ("a: actor has 1, learner has 2",)),
    m.Ack("s1", -1, 3, True),
    m.Lost("s1", 3, 9),
    m.Announce(8),
    m.WeightsRequest(-1),
    m.WeightsMessage(b"blob"),
    m.Ping({"late_steps": 2.0}),
    m.Pong(4, {"updates": 1.5}),
    m.Turn("s1", 5, 6),
    m.Error("no", False, "s1", 4),
    m.Bye(),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.kind)
def test_message_comes_back_as_it_was_sent(message: m.Message) -> None:
    assert m.decode(m.encode(message)) == message


def test_every_kind_of_message_is_tested() -> None:
    assert {message.kind for message in MESSAGES} | {"chunk"} == set(m.KINDS)


def test_chunk_frames_travel_untouched() -> None:
    frames = (msgpack.packb({"protocol": 2, "type": "chunk"}), b"1234")
    assert m.encode(m.ChunkMessage(frames)) == list(frames)
    assert m.decode(frames) == m.ChunkMessage(frames)


def edited(message: m.Message, **changes: Any) -> list[Any]:
    frames = m.encode(message)
    return [msgpack.packb({**msgpack.unpackb(frames[0]), **changes}), *frames[1:]]


HELLO, WELCOME, ACK = MESSAGES[0], MESSAGES[1], MESSAGES[3]
MALFORMED: dict[str, tuple[list[Any], str]] = {
    "unknown type": (edited(ACK, type="attack"), "message type 'attack'"),
    "type is a number": (edited(ACK, type=7), "message type is 7"),
    "field missing": ([msgpack.packb({"protocol": 2, "type": "ack"})], "fields"),
    "field too many": (edited(ACK, more=1), "fields"),
    "frame too many": ([*m.encode(ACK), b""], "2 frames found, 1 expected"),
    "blob missing": (m.encode(m.WeightsMessage(b"x"))[:1], "1 frames found, 2 expected"),
    "actor is a path": (edited(HELLO, actor="../x"), "actor is"),
    "config is deep": (edited(HELLO, config={"a": {"b": 1}}), "expected a plain value"),
    "config is a list": (edited(HELLO, config=[1]), "config is"),
    "config text is endless": (edited(HELLO, config={"a": "x" * 5000}), "at most"),
    "schema is empty": (edited(HELLO, schema=[]), "columns are"),
    "sessions are endless": (edited(HELLO, sessions=["s"] * 5000), "sessions is"),
    "mark below -1": (edited(WELCOME, high_water={"s1": -2}), "high_water is -2"),
    "flag is a number": (edited(ACK, resend=1), "expected true or false"),
    "sequence is a float": (edited(ACK, sequence=1.0), "sequence is 1.0"),
    "figure is a text": (edited(m.Ping(), stats={"a": "1"}), "expected a number"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_message_is_refused(case: str) -> None:
    frames, says = MALFORMED[case]
    with pytest.raises(WireError) as refusal:
        m.decode(frames)
    assert says in str(refusal.value)


def test_message_that_nobody_could_read_is_not_sent() -> None:
    with pytest.raises(WireError):
        m.encode(m.Announce(-5))
    with pytest.raises(WireError):
        m.encode(m.Ping({"a": 2**100}))


def test_another_protocol_is_told_apart() -> None:
    with pytest.raises(ProtocolMismatch, match="same release"):
        m.decode(edited(ACK, protocol=3))
    with pytest.raises(ProtocolMismatch, match="same release"):
        m.decode(edited(ACK, protocol=1))  # only chunks outlive the release that wrote them


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=3))
def test_random_bytes_raise_nothing_but_wire_errors(frames: list[bytes]) -> None:
    with pytest.raises(WireError):
        m.decode(frames)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_damaged_message_decodes_or_raises_a_wire_error(
    message: m.Message, data: st.DataObject
) -> None:
    frames = m.encode(message)
    head = bytearray(frames[0])
    for _ in range(data.draw(st.integers(1, 3))):
        head[data.draw(st.integers(0, len(head) - 1))] = data.draw(st.integers(0, 255))
    try:
        m.encode(m.decode([bytes(head), *frames[1:]]))
    except WireError:
        return
