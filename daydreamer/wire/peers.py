"""Who talks to the learner: actors by id, whatever connection they use at the moment."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from daydreamer.wire.messages import Hello

log = logging.getLogger(__name__)

MAX_PEERS = 1024


@dataclass(frozen=True)
class PeerStatus:
    """One actor as the learner sees it."""

    connected: bool
    last_heard_s: float  # seconds since its last message
    session: str
    chunks: int  # stored since the learner started
    duplicates: int
    gaps: int  # chunks that came out of order and were asked for again
    malformed: int
    errors: int  # problems that the actor reported, such as bad weights
    stats: Mapping[str, float]


@dataclass
class Peer:
    """An actor that said Hello. `identity` is the routing id of its present connection."""

    actor: str
    session: str
    identity: bytes
    heard_s: float  # clock time of its last message
    connected: bool = True
    chunks: int = 0
    duplicates: int = 0
    gaps: int = 0
    malformed: int = 0
    errors: int = 0
    stats: Mapping[str, float] = field(default_factory=dict)

    def status(self, now_s: float) -> PeerStatus:
        """A copy for other threads."""
        return PeerStatus(
            **{name: getattr(self, name) for name in ("connected", "session", "chunks")},
            **{name: getattr(self, name) for name in ("duplicates", "gaps", "malformed", "errors")},
            last_heard_s=now_s - self.heard_s,
            stats=self.stats,
        )


class Peers:
    """All actors that ever said Hello, found by id or by connection."""

    def __init__(self, liveness_s: float) -> None:
        self._liveness_s = liveness_s
        self._by_actor: dict[str, Peer] = {}
        self._by_identity: dict[bytes, Peer] = {}

    def connected(self) -> list[Peer]:
        """The actors that are there now."""
        return [peer for peer in self._by_actor.values() if peer.connected]

    def of_session(self, session: str) -> Peer | None:
        """The connected actor in this session."""
        return next((peer for peer in self.connected() if peer.session == session), None)

    def objection(self, hello: Hello, identity: bytes, *, alone: bool) -> str | None:
        """Why this actor cannot be taken, None when it can. alone: one actor at a time."""
        others = [other.actor for other in self.connected() if other.actor != hello.actor]
        if alone and others:
            # Only the newest policy is kept: two that take turns would wait for each other's.
            return (
                f"mode=lockstep takes turns with one actor, and {others[0]!r} is connected: stop "
                "it, or use mode=async for several"
            )
        peer = self._by_actor.get(hello.actor)
        if peer is None:
            full = len(self._by_actor) >= MAX_PEERS
            return f"{MAX_PEERS} actors are known already" if full else None
        # Session ids sort by start time: of two live actors with one id, the older has to go.
        if peer.connected and peer.identity != identity and hello.session < peer.session:
            return (
                f"actor id {hello.actor!r} is used by a newer session, {peer.session}: stop one of "
                "the two, or give this one another id=NAME"
            )
        return None

    def greet(self, hello: Hello, identity: bytes, now_s: float) -> Peer:
        """The actor behind a Hello, from now on known by this connection."""
        peer = self._by_actor.get(hello.actor)
        if peer is None:
            log.info("actor %s says hello (session %s)", hello.actor, hello.session)
            peer = self._by_actor[hello.actor] = Peer(hello.actor, hello.session, identity, now_s)
        else:
            self._by_identity.pop(peer.identity, None)
            if peer.session != hello.session:
                log.info("actor %s was started anew (session %s)", hello.actor, hello.session)
            elif not peer.connected:
                away_s = now_s - peer.heard_s
                log.info("actor %s is back after %.1f s", hello.actor, away_s)
        peer.session, peer.identity = hello.session, identity
        peer.heard_s, peer.connected = now_s, True
        self._by_identity[identity] = peer
        return peer

    def heard(self, identity: bytes, now_s: float) -> Peer | None:
        """The actor on this connection, which has just been heard; None for a stranger."""
        peer = self._by_identity.get(identity)
        if peer is not None:
            if not peer.connected:
                log.info("actor %s is back after %.1f s", peer.actor, now_s - peer.heard_s)
            peer.heard_s, peer.connected = now_s, True
        return peer

    def leave(self, peer: Peer, why: str) -> None:
        """An actor is gone, on purpose or not."""
        if peer.connected:
            peer.connected = False
            log.info("actor %s left (%s)", peer.actor, why)

    def forget_connection(self, peer: Peer) -> None:
        """The connection is closed: its routing id means nothing any more."""
        self._by_identity.pop(peer.identity, None)

    def notice_silence(self, now_s: float) -> None:
        """Mark actors that have not been heard for too long; each is said once."""
        for peer in self.connected():
            if now_s - peer.heard_s > self._liveness_s:
                peer.connected = False
                log.warning("actor %s has been silent for %g s", peer.actor, self._liveness_s)

    def statuses(self, now_s: float) -> dict[str, PeerStatus]:
        """A copy for other threads."""
        return {actor: peer.status(now_s) for actor, peer in self._by_actor.items()}
