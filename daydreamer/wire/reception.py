"""What the learner answers to whom: greeting, acknowledging, handing out weights and turns.

A state machine without sockets or threads: the server hands it what arrived, and asks it to settle
(commit and acknowledge) after each batch of messages.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from daydreamer.wire import messages as m
from daydreamer.wire.checks import Scalar
from daydreamer.wire.handshake import differences
from daydreamer.wire.headers import PROTOCOL, Frame, ProtocolMismatch, WireError
from daydreamer.wire.ingest import ChunkStore, Ingest, Outcome, identify
from daydreamer.wire.peers import Peer, Peers, PeerStatus
from daydreamer.wire.rows import Chunk, Schema

log = logging.getLogger(__name__)

MAX_STRANGERS = 256  # connections remembered as having been warned about


@dataclass(frozen=True)
class ServerConfig:
    """The learner's end. config is flat, shown to an actor whose fingerprint differs."""

    bind: str
    run: str
    fingerprint: str
    config: Mapping[str, Scalar]
    schema: Schema
    lockstep: bool = False
    insecure: bool = False  # allow an address that the network can reach, unencrypted
    liveness_s: float = 10.0  # an actor silent for this long counts as away
    former: str | None = None  # bound last time; with port * it is taken again if it is free
    gather_s: float = 0.2  # others gather at most so long after some messages; not in lockstep


class Reception:
    """The learner's side of all talks. Used by the server's thread, except where it says so."""

    def __init__(
        self,
        cfg: ServerConfig,
        store: ChunkStore,
        send: Callable[[bytes, list[Frame]], bool],
        on_chunk: Callable[[Chunk], None] | None = None,
        step_count: Callable[[], int] | None = None,
        figures: Callable[[str], Mapping[str, float]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cfg = cfg
        self.strangers_malformed = 0
        self._ingest = Ingest(store, cfg.schema, clock)
        self._send_frames = send
        self._on_chunk = on_chunk
        self._step_count, self._figures = step_count, figures
        self._clock = clock
        self._lock = threading.Lock()  # guards the peers, the newest policy and the turns
        self._peers = Peers(cfg.liveness_s)
        self._newest: tuple[int, bytes] | None = None
        self._announced = -1
        self._turns: dict[str, m.Turn] = {}
        self._new_turns: list[str] = []
        self._acks: dict[tuple[bytes, str], bool] = {}  # (identity, session) -> resend
        self._warned: set[bytes] = set()
        self._fault: str | None = None

    # From any thread.

    @property
    def failure(self) -> str | None:
        """What is wrong at the moment, None when all is well."""
        return self._ingest.failure or self._fault

    def publish(self, version: int, blob: bytes) -> None:
        """Replace the newest policy; announced at the next settle()."""
        with self._lock:
            self._newest = (version, blob)

    def grant(self, session: str, sequence: int, version: int) -> None:
        """Let a session go on; sent at the next settle() and repeated until it does."""
        turn = m.Turn(session, sequence, version)
        m.encode(turn)
        with self._lock:
            self._turns[session] = turn
            self._new_turns.append(session)

    def statuses(self) -> dict[str, PeerStatus]:
        """Every actor that ever said Hello, by id."""
        with self._lock:
            return self._peers.statuses(self._clock())

    # From the server's thread.

    def receive(self, identity: bytes, frames: list[bytes]) -> None:
        """Take one message. Whatever it holds, it harms nobody but its sender."""
        with self._lock:
            peer = self._peers.heard(identity, self._clock())
        try:
            message = m.decode(frames)
            if isinstance(message, m.Hello):
                self._hello(identity, message)
            elif peer is None:
                if not isinstance(message, m.Bye):
                    self._say(identity, m.Error("say Hello first", hello=True))
            else:
                self._handle(peer, message, frames)
        except WireError as error:
            self._malformed(identity, peer, frames, error)

    @property
    def held_bytes(self) -> int:
        """What waits in memory for settle()."""
        return self._ingest.held_bytes

    def settle(self) -> bool:
        """Commit what arrived, acknowledge it, hand it on; announce policies and turns.

        True when something was announced: actors are about to ask for it.
        """
        acks, self._acks = self._acks, {}
        chunks: list[Chunk] = []
        if acks:
            committed = self._ingest.commit()
            if committed is None:  # nothing may be acknowledged; the actors will send again
                acks = {}
            else:
                chunks = committed
        for (identity, session), resend in acks.items():
            mark = self._ingest.mark(session)
            self._say(identity, m.Ack(session, mark, self._version(), resend))
        for chunk in chunks:
            self._hand_on(chunk)
        return self._announce()

    def keep_time(self) -> None:
        """Notice actors that fell silent."""
        with self._lock:
            self._peers.notice_silence(self._clock())

    def say_bye(self) -> None:
        """Tell the actors that the learner leaves on purpose."""
        for peer in self._peers.connected():
            self._say(peer.identity, m.Bye())

    def fail(self, error: Exception) -> None:
        """Something unforeseen happened while serving: log it in full, once a kind."""
        text = f"{type(error).__name__}: {error}"
        if text != self._fault:
            log.error("a fault while serving actors; service goes on", exc_info=error)
        self._fault = text

    def _hello(self, identity: bytes, hello: m.Hello) -> None:
        cfg = self.cfg
        lines = differences(hello, cfg.fingerprint, cfg.config, cfg.schema)
        objection = self._peers.objection(hello, identity, alone=cfg.lockstep)
        if lines or objection is not None:
            reason = objection or "actor and learner are configured differently"
            self._warn_once(identity, "actor %s is refused: %s %s", hello.actor, reason, lines)
            self._say(identity, m.Refused(reason, lines))
            return
        with self._lock:
            peer = self._peers.greet(hello, identity, self._clock())
        # The actor forgets what it is told is stored: chunks of this batch are not committed yet.
        names = {hello.session, *hello.sessions}
        marks = {name: self._ingest.durable_mark(name) for name in names}
        steps = 0 if self._step_count is None else self._step_count()
        self._say(identity, m.Welcome(cfg.run, self._version(), marks, cfg.lockstep, steps))
        self._repeat_turn(peer)

    def _handle(self, peer: Peer, message: m.Message, frames: list[bytes]) -> None:
        if isinstance(message, m.ChunkMessage):
            self._chunk(peer, frames)
        elif isinstance(message, m.Ping):
            peer.stats = message.stats
            figures = {} if self._figures is None else self._figures(peer.session)
            self._say(peer.identity, m.Pong(self._version(), figures))
            self._repeat_turn(peer)
        elif isinstance(message, m.WeightsRequest):
            newest = self._newest
            if newest is not None and newest[0] != message.have_version:
                self._say(peer.identity, m.WeightsMessage(newest[1]))
        elif isinstance(message, m.Lost):
            self._ingest.declare_lost(message.session, message.first, message.last)
        elif isinstance(message, m.Error):
            peer.errors += 1
            log.warning("actor %s reports: %s", peer.actor, message.reason)
        elif isinstance(message, m.Bye):
            with self._lock:
                self._peers.leave(peer, "it said goodbye")
                self._peers.forget_connection(peer)
        else:
            raise WireError(f"{message.kind!r} is not for a learner")

    def _chunk(self, peer: Peer, frames: list[bytes]) -> None:
        chunk, outcome = self._ingest.offer(frames, peer.actor)
        if outcome is Outcome.DEFERRED:
            return
        peer.chunks += outcome is Outcome.STORED
        peer.duplicates += outcome is Outcome.DUPLICATE
        peer.gaps += outcome is Outcome.GAP
        key = (peer.identity, chunk.session)
        self._acks[key] = self._acks.get(key, False) or outcome is Outcome.GAP

    def _hand_on(self, chunk: Chunk) -> None:
        if self._on_chunk is not None:
            try:
                self._on_chunk(chunk)
            except Exception as error:  # noqa: BLE001 - the learner's code; shown as `failure`
                self.fail(error)

    def _announce(self) -> bool:
        with self._lock:
            newest, fresh = self._newest, self._new_turns
            turns = [self._turns[session] for session in dict.fromkeys(fresh)]
            self._new_turns = []
        is_news = newest is not None and newest[0] != self._announced
        if newest is not None and is_news:
            self._announced = newest[0]
            for peer in self._peers.connected():
                self._say(peer.identity, m.Announce(newest[0]))
        for turn in turns:
            receiver = self._peers.of_session(turn.session)
            if receiver is not None:
                self._say(receiver.identity, turn)
        return is_news or bool(turns)

    def _repeat_turn(self, peer: Peer) -> None:
        """A Turn that was lost with a connection would stop a lockstep run for good."""
        turn = self._turns.get(peer.session)
        if turn is not None:
            self._say(peer.identity, turn)

    def _malformed(
        self, identity: bytes, peer: Peer | None, frames: list[bytes], error: WireError
    ) -> None:
        if peer is None:
            self.strangers_malformed += 1
            self._warn_once(identity, "a stranger sends malformed messages: %s", error)
        else:
            peer.malformed += 1
            if peer.malformed == 1:
                log.error("actor %s sends malformed messages: %s", peer.actor, error)
        if isinstance(error, ProtocolMismatch):
            line = f"protocol: actor has {error.found!r}, learner has {PROTOCOL}"
            self._say(identity, m.Refused("install the same release on both machines", (line,)))
            return
        session, sequence = (peer and identify(frames)) or ("", -1)
        self._say(identity, m.Error(str(error)[:1000], False, session, sequence))

    def _warn_once(self, identity: bytes, text: str, *values: object) -> None:
        if identity not in self._warned:
            if len(self._warned) >= MAX_STRANGERS:
                self._warned.clear()
            self._warned.add(identity)
            log.error(text, *values)

    def _version(self) -> int:
        newest = self._newest
        return -1 if newest is None else newest[0]

    def _say(self, identity: bytes, message: m.Message) -> bool:
        return self._send_frames(identity, m.encode(message))
