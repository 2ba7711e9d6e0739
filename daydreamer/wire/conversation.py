"""What an actor says to its learner, and when: greeting, streaming, heartbeat, silence.

A state machine without sockets or threads: the link hands it what arrived and asks it to keep time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from daydreamer.wire import messages as m
from daydreamer.wire.checks import MAX_ITEMS, Scalar
from daydreamer.wire.headers import PROTOCOL, Frame, ProtocolMismatch, WireError
from daydreamer.wire.inbox import Inbox
from daydreamer.wire.journal import Journal
from daydreamer.wire.outbox import Outbox
from daydreamer.wire.rows import Schema

log = logging.getLogger(__name__)

NEVER_S = -1e9


@dataclass(frozen=True)
class LinkConfig:
    """One actor's link. config is flat: the learner compares it when the fingerprints differ."""

    address: str
    actor: str
    session: str
    journal: Journal
    fingerprint: str
    config: Mapping[str, Scalar]
    schema: Schema
    lockstep: bool = False
    run: str | None = None  # a learner of another run is refused; None: any will do
    heartbeat_s: float = 1.0
    resend_s: float = 5.0  # without an acknowledgement for this long, chunks are sent again
    liveness_s: float = 10.0  # a learner silent for this long is lost
    weights_timeout_s: float = 30.0  # the same while weights are under way, which hold up all else
    max_in_flight: int = 16  # chunks sent and not yet acknowledged
    max_queued: int = 4096  # chunks in memory while the journal's disk does not take them


class Conversation:
    """One actor's side of the talk. Used by the link's thread only; attributes may be read by any.

    send: hands frames to the socket; False when they could not leave.
    """

    def __init__(
        self,
        cfg: LinkConfig,
        outbox: Outbox,
        inbox: Inbox,
        send: Callable[[list[Frame]], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cfg = cfg
        self.connected = False  # between Welcome and loss
        self.refused: str | None = None
        self.last_welcome: m.Welcome | None = None
        self.heard_s: float | None = None  # clock time of the learner's last message
        self.lost_links = 0
        self.stats: Mapping[str, float] = {}
        self.learner_stats: Mapping[str, float] = {}
        self._outbox = outbox
        self._inbox = inbox
        self._send_frames = send
        self._clock = clock
        self._bad_messages = 0
        self._gone_s: float | None = None  # since when the learner is missing
        self._began_s = clock()
        self._hello_s = self._ping_s = self._progress_s = self._rewound_s = NEVER_S
        self._hello(())  # so that a config that cannot travel fails here, where it can be reported

    def begin(self) -> None:
        """The link has a fresh socket."""
        self._began_s = self._clock()
        self._hello_s = NEVER_S

    def hello_is_due(self) -> bool:
        """True when the learner should be greeted (again)."""
        pause_s = self.cfg.heartbeat_s if self.refused is None else self.cfg.resend_s
        return not self.connected and self._clock() - self._hello_s >= pause_s

    def receive(self, frames: Sequence[Frame]) -> None:
        """Take one message. Malformed ones are counted and said once."""
        self.heard_s = self._clock()
        try:
            self._handle(m.decode(frames))
        except ProtocolMismatch as error:
            self._refuse(f"protocol: actor has {PROTOCOL}, learner has {error.found}")
        except WireError as error:
            self._bad_messages += 1
            if self._bad_messages == 1:
                log.error("the learner sent a malformed message: %s", error)

    def ask(self) -> None:
        """Ping at the next occasion, without waiting for the heartbeat."""
        self._ping_s = NEVER_S

    def keep_time(self) -> bool:
        """Greet, ping, notice silence, send again. False when a fresh socket is needed."""
        cfg, now = self.cfg, self._clock()
        patience_s = cfg.liveness_s
        if self._inbox.is_fetching(now, cfg.weights_timeout_s):
            patience_s = max(cfg.liveness_s, cfg.weights_timeout_s)
        if now - max(self._began_s, self.heard_s or self._began_s) > patience_s:
            self.gone(f"silent for {patience_s:g} s")
            return False
        if self.hello_is_due():
            sessions = tuple(cfg.journal.sessions()[:MAX_ITEMS])
            if self._send_frames(self._hello(sessions)):
                self._hello_s = now
        if (
            self.connected
            and now - self._ping_s >= cfg.heartbeat_s
            and self._say(m.Ping(self.stats))
        ):
            self._ping_s = now
        if self._outbox.in_flight and now - self._progress_s > cfg.resend_s:
            self._progress_s = now
            self._outbox.rewind()
        return True

    def pump(self) -> None:
        """Send chunks while the window is open and the socket takes them."""
        while self.connected and (message := self._outbox.peek()) is not None:
            if not self._outbox.in_flight:
                self._progress_s = self._clock()
            if not self._say(message):
                return
            self._outbox.advance()

    def gone(self, why: str) -> None:
        """The learner is missing: said once, until it is back."""
        if self._gone_s is None:
            self._gone_s = self._clock()
            self.lost_links += self.connected
            address = self.cfg.address
            log.warning("learner %s is missing (%s): chunks wait in the journal", address, why)
        self.connected = False
        self._hello_s = NEVER_S
        self._inbox.request_lost()

    def say_bye(self) -> None:
        """Tell the learner that this actor leaves on purpose."""
        if self.connected:
            self._say(m.Bye())
            self.connected = False

    def _handle(self, message: m.Message) -> None:
        if isinstance(message, m.Welcome):
            self._on_welcome(message)
        elif isinstance(message, m.Refused):
            self._refuse("; ".join([message.reason, *message.differences]))
        elif isinstance(message, m.Ack):
            self._on_ack(message)
        elif isinstance(message, m.Announce):
            self._want(message.version)
        elif isinstance(message, m.Pong):
            self.learner_stats = message.stats
            self._want(message.newest_version)
        elif isinstance(message, m.WeightsMessage):
            if (problem := self._inbox.receive_weights(message.blob)) is not None:
                self._say(m.Error(problem[:1000]))
            # Versions announced while this blob was under way were not asked for.
            self._want(self._inbox.newest_seen)
        elif isinstance(message, m.Turn):
            self._inbox.receive_turn(message)
        elif isinstance(message, m.Error):
            self._on_error(message)
        elif isinstance(message, m.Bye):
            self.gone("it said goodbye")
        elif isinstance(message, m.Hello):
            # Who knocks at a port where nobody listens may be given that port, and reach itself.
            self.gone("nobody listens there but this link itself")
            self.heard_s, self._began_s = None, NEVER_S  # keep_time() asks for a fresh socket
        else:
            raise WireError(f"{message.kind!r} is not for an actor")

    def _on_welcome(self, welcome: m.Welcome) -> None:
        now = self._clock()
        if welcome.lockstep != self.cfg.lockstep:
            actor, learner = (
                "lockstep" if on else "async" for on in (self.cfg.lockstep, welcome.lockstep)
            )
            self._refuse(f"mode: actor has {actor}, learner has {learner}")
            return
        if self.cfg.run not in (None, welcome.run):
            self._refuse(f"run: actor has {self.cfg.run}, learner has {welcome.run}")
            return
        if not self.connected:
            away = "" if self._gone_s is None else f" after {now - self._gone_s:.1f} s"
            log.info("learner %s (run %s) answers%s", self.cfg.address, welcome.run, away)
        self.connected, self.refused, self._gone_s = True, None, None
        self.last_welcome, self.learner_stats = welcome, {}
        self._progress_s = now
        self._outbox.welcome(welcome.high_water)
        self._inbox.begin(welcome.version)
        self._want(welcome.version)

    def _on_ack(self, ack: m.Ack) -> None:
        now = self._clock()
        if self._outbox.acked(ack.session, ack.sequence):
            self._progress_s = now
        # Each chunk behind a gap asks for it; one answer is enough for all that were in flight.
        if ack.resend and now - self._rewound_s > min(0.5, self.cfg.resend_s):
            self._rewound_s = now
            self._outbox.rewind()
        self._want(ack.newest_version)

    def _on_error(self, error: m.Error) -> None:
        if error.hello:
            if self.connected:
                self.gone("it was restarted and does not know this link")
        elif error.session and self._outbox.refused(error.session, error.sequence):
            log.error(
                "the learner refuses chunk %d of session %s (%s); it is kept as .refused",
                *(error.sequence, error.session, error.reason),
            )
        else:
            log.warning("the learner reports: %s", error.reason)

    def _want(self, version: int) -> None:
        """Fetch the newest weights when they are news and no request is outstanding."""
        now = self._clock()
        wanted = self._inbox.wants(version, now, self.cfg.weights_timeout_s)
        if self.connected and wanted and self._say(m.WeightsRequest(self._inbox.held)):
            self._inbox.requested(now)

    def _refuse(self, reason: str) -> None:
        if reason != self.refused:
            log.error(
                "learner %s refuses this actor: %s. Rows wait in the journal until both "
                "have the same settings and release",
                *(self.cfg.address, reason),
            )
        self.refused, self.connected = reason, False

    def _say(self, message: m.Message) -> bool:
        return self._send_frames(m.encode(message))

    def _hello(self, sessions: tuple[str, ...]) -> list[Frame]:
        cfg = self.cfg
        config = dict(cfg.config)
        return m.encode(
            m.Hello(cfg.actor, cfg.session, cfg.fingerprint, config, cfg.schema, sessions)
        )
