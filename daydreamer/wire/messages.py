"""What actor and learner say to each other: dataclasses, and their frames.

    # actor                                    learner
    # Hello ---------------------------------> Welcome | Refused
    # ChunkMessage --------------------------> Ack (data and high-water mark are on the disk)
    # Lost (chunks that will never come) ---->
    # WeightsRequest ------------------------> WeightsMessage (newest only)
    # Ping ----------------------------------> Pong
    #                                    <---- Announce, Turn, Error;  Bye goes either way

Frame 0 of every message is a msgpack map with "protocol", "type" and exactly the fields below. A
chunk's frames are those of `codec.encode_chunk`, untouched, so that the archive stores what it got.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import msgpack

from daydreamer.wire.checks import (
    Scalar,
    check_figures,
    check_flag,
    check_list,
    check_mark,
    check_marks,
    check_name,
    check_name_or_empty,
    check_scalars,
    check_text,
)
from daydreamer.wire.headers import (
    PROTOCOL,
    Frame,
    WireError,
    brief,
    check_count,
    read_columns,
    read_header,
    write_columns,
)
from daydreamer.wire.rows import Schema

# A figure of Pong: what a twin needs to wait for its learner, see ReplayRatioLimiter.rows_ahead.
ROWS_AHEAD = "rows_ahead"
ROWS_STORED = "rows_stored"  # of the session that asks, all of them counted in ROWS_AHEAD


@dataclass(frozen=True)
class Message:
    """Base of all messages. `blobs` is how many raw frames follow the header."""

    kind: ClassVar[str]
    blobs: ClassVar[int] = 0


@dataclass(frozen=True)
class Hello(Message):
    """An actor introduces itself. `config` is flat: {dotted key: scalar}."""

    kind = "hello"
    actor: str
    session: str
    fingerprint: str
    config: Mapping[str, Scalar]
    schema: Schema
    sessions: tuple[str, ...] = ()  # sessions with chunks in the journal, oldest first


@dataclass(frozen=True)
class Welcome(Message):
    """The actor may stream. high_water: newest stored sequence of each session asked for.

    A control step is a row that a command led to: an episode's first row is none.
    """

    kind = "welcome"
    run: str
    version: int  # newest policy version, -1 before the first
    high_water: Mapping[str, int]
    lockstep: bool
    start_step_count: int  # control steps of the run stored so far, by all its actors


@dataclass(frozen=True)
class Refused(Message):
    """The actor may not stream: its differences as lines 'key: actor has X, learner has Y'."""

    kind = "refused"
    reason: str
    differences: tuple[str, ...] = ()


@dataclass(frozen=True)
class ChunkMessage(Message):
    """Frames of `codec.encode_chunk`."""

    kind = "chunk"
    frames: tuple[Frame, ...]


@dataclass(frozen=True)
class Ack(Message):
    """All chunks of the session through `sequence` are on the learner's disk.

    resend: chunks after `sequence` arrived out of order and were not stored; send from there again.
    """

    kind = "ack"
    session: str
    sequence: int  # -1: none yet
    newest_version: int
    resend: bool = False


@dataclass(frozen=True)
class Lost(Message):
    """Chunks `first` through `last` left the journal unacknowledged and will never come."""

    kind = "lost"
    session: str
    first: int
    last: int


@dataclass(frozen=True)
class Announce(Message):
    """A newer policy can be fetched."""

    kind = "announce"
    version: int


@dataclass(frozen=True)
class WeightsRequest(Message):
    """Send the newest policy if it differs from `have_version`."""

    kind = "weights?"
    have_version: int


@dataclass(frozen=True)
class WeightsMessage(Message):
    """What `weights.pack_weights` made, in one raw frame."""

    kind = "weights"
    blobs = 1
    blob: bytes = field(repr=False)


@dataclass(frozen=True)
class Ping(Message):
    """The actor's heartbeat, with figures for the learner's log."""

    kind = "ping"
    stats: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Pong(Message):
    """The answer to a Ping."""

    kind = "pong"
    newest_version: int
    stats: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn(Message):
    """Lockstep: all updates that chunks through `sequence` allow are done; act with `version`."""

    kind = "turn"
    session: str
    sequence: int
    version: int


@dataclass(frozen=True)
class Error(Message):
    """Something could not be accepted. A chunk that will never be accepted is named."""

    kind = "error"
    reason: str
    hello: bool = False  # the learner does not know this connection: say Hello again
    session: str = ""
    sequence: int = -1


@dataclass(frozen=True)
class Bye(Message):
    """The sender leaves on purpose."""

    kind = "bye"


KINDS: Mapping[str, type[Message]] = {
    kind.kind: kind
    for kind in (
        *(Hello, Welcome, Refused, ChunkMessage, Ack, Lost, Announce, WeightsRequest),
        *(WeightsMessage, Ping, Pong, Turn, Error, Bye),
    )
}


def encode(message: Message) -> list[Frame]:
    """Frames of a message. Raises WireError for one that `decode` would refuse."""
    if isinstance(message, ChunkMessage):
        return list(message.frames)
    header: dict[str, Any] = {"protocol": PROTOCOL, "type": message.kind}
    blobs: list[Frame] = []
    for item in fields(message):
        value = getattr(message, item.name)
        if item.name == "blob":
            blobs.append(value)
        elif item.name == "schema":
            header["schema"] = write_columns(value)
        else:
            header[item.name] = dict(value) if isinstance(value, Mapping) else value
    try:
        frames: list[Frame] = [msgpack.packb(header), *blobs]
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"{message.kind}: {error}") from error
    decode(frames)
    return frames


def decode(frames: Sequence[Frame]) -> Message:
    """The message in these frames. Raises WireError (ProtocolMismatch for another protocol).

    A chunk's header is checked here only as far as its type: `codec.decode_chunk` checks the rest.
    """
    header = read_header(frames)
    kind = KINDS.get(header["type"])
    if kind is None:
        raise WireError(f"message type {brief(header['type'])}, expected one of {sorted(KINDS)}")
    if kind is ChunkMessage:
        return ChunkMessage(tuple(frames))
    if len(frames) != 1 + kind.blobs:
        raise WireError(f"{kind.kind}: {len(frames)} frames found, {1 + kind.blobs} expected")
    values = {key: value for key, value in header.items() if key not in ("protocol", "type")}
    if kind is WeightsMessage:
        values["blob"] = bytes(frames[1])
    names = {item.name for item in fields(kind)}
    if values.keys() != names:
        raise WireError(f"{kind.kind}: fields {sorted(values)} found, {sorted(names)} expected")
    try:
        return kind(**{name: _CHECKS[name](value, name) for name, value in values.items()})
    except WireError as error:
        raise WireError(f"{kind.kind}: {error}") from error


_CHECKS: Mapping[str, Any] = {
    "actor": check_name,
    "session": check_name_or_empty,
    "fingerprint": check_text,
    "config": check_scalars,
    "schema": lambda value, what: read_columns(value),
    "sessions": check_list(check_name),
    "run": check_text,
    "version": check_mark,
    "high_water": check_marks,
    "lockstep": check_flag,
    "start_step_count": check_count,
    "reason": check_text,
    "differences": check_list(check_text),
    "sequence": check_mark,
    "newest_version": check_mark,
    "resend": check_flag,
    "first": check_count,
    "last": check_count,
    "have_version": check_mark,
    "blob": lambda value, what: value,
    "stats": check_figures,
    "hello": check_flag,
}
