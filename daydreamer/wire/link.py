"""The actor's end of the wire, in a thread of its own: the control thread never waits for it.

    # control thread        link thread
    # send(chunk) --queue--> journal --> DEALER --> learner
    #                        journal <-- Ack            |
    # newest_weights() <---- verified <-- weights <-----+

The learner may be absent, slow, restarted or gone: chunks then wait in the journal, and are sent
again, in order, once it says Welcome.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import zmq

from daydreamer.wire.conversation import Conversation, LinkConfig
from daydreamer.wire.headers import Frame, WireError
from daydreamer.wire.inbox import Inbox
from daydreamer.wire.outbox import Outbox
from daydreamer.wire.rows import Chunk
from daydreamer.wire.sockets import check_address, drain_wake, open_dealer, wake, wake_pair
from daydreamer.wire.weights import Weights

__all__ = ["Link", "LinkConfig", "LinkStatus"]

log = logging.getLogger(__name__)

POLL_S = 0.1  # the longest nap; news and send() end it at once
RETRY_S = 1.0  # between two attempts after a failure on this side, such as a full disk
CHUNKS_A_STEP = (
    4  # journalled before the learner is listened to: a slow disk may take 0.1 s for one
)


@dataclass(frozen=True)
class LinkStatus:
    """The link at one moment."""

    connected: bool
    refused: str | None  # why the learner does not want this actor, with the differences
    run: str | None  # the learner's run, once it said Welcome
    journal_chunks: int
    journal_bytes: int
    newest_version_seen: int  # -1: none
    last_heard_s: float | None  # seconds since the learner was heard; None: never
    lost_links: int
    bad_weights: int
    sent: int  # chunk messages, repeated ones included
    stored: int  # chunks confirmed by the learner
    dropped: int  # chunks that will never arrive: quota, full queue, malformed, damaged, refused
    start_step_count: int  # control steps of the run stored by the learner at the last Welcome
    high_water: Mapping[str, int]  # session -> newest sequence it had stored by then
    error: str | None  # what is wrong on this side, such as a full disk
    learner_stats: Mapping[str, float] = field(default_factory=dict)


class Link:
    """Streams chunks to the learner and fetches its weights. Its methods suit any thread."""

    def __init__(self, cfg: LinkConfig, clock: Callable[[], float] = time.monotonic) -> None:
        check_address(cfg.address)
        self.cfg = cfg
        self._clock = clock
        self._queue: deque[Chunk] = deque()
        self._outbox = Outbox(cfg.journal, cfg.schema, cfg.max_in_flight)
        self._inbox = Inbox(cfg.session)
        self._talk = Conversation(cfg, self._outbox, self._inbox, self._try_send, clock)
        self._error: str | None = None
        self._overflowed = self._malformed = 0
        self._failed_s = -1e9  # clock time of the journal's last failure
        self._close_s: float | None = None  # when close() stops waiting
        self._reader, self._writer = wake_pair()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to connect, and to send what the journal holds. Returns at once."""
        if self._thread is not None:
            raise RuntimeError("this link was started before: make a new one")
        self._context = zmq.Context()
        self._thread = threading.Thread(target=self._run, name="wire-link", daemon=True)
        self._thread.start()

    def send(self, chunk: Chunk) -> None:
        """Hand over a chunk; its arrays must not change any more. Never blocks."""
        if self._close_s is not None:
            raise RuntimeError("send() on a link that is closing")
        if len(self._queue) >= self.cfg.max_queued:
            self._overflowed += 1  # reported by the link thread: logging may block
        else:
            self._queue.append(chunk)
        wake(self._writer)

    def set_stats(self, stats: Mapping[str, float]) -> None:
        """Figures that the next heartbeats carry to the learner."""
        self._talk.stats = dict(stats)

    def ask(self) -> None:
        """Have the learner's figures fetched now instead of with the next heartbeat."""
        self._talk.ask()
        wake(self._writer)

    def newest_weights(self) -> Weights | None:
        """The newest verified weights, each returned once; None when there are none."""
        return self._inbox.take_weights()

    def wait_weights(self, version: int, timeout_s: float) -> Weights | None:
        """The newest weights once their version is at least `version`; None on timeout."""
        return self._inbox.wait_weights(version, timeout_s)

    def wait_turn(self, sequence: int, timeout_s: float) -> int | None:
        """Lockstep: wait until the learner is through with chunk `sequence` of this session.

        Returns the policy version to act with next (-1: none yet), None on timeout.
        """
        return self._inbox.wait_turn(sequence, timeout_s)

    @property
    def status(self) -> LinkStatus:
        """How things stand; cheap, never blocks."""
        journal, talk = self.cfg.journal, self._talk
        depth, welcome, heard_s = journal.depth, talk.last_welcome, talk.heard_s
        set_aside = journal.dropped + journal.corrupt + journal.refused
        return LinkStatus(
            connected=talk.connected,
            refused=talk.refused,
            run=None if welcome is None else welcome.run,
            journal_chunks=depth.chunks,
            journal_bytes=depth.bytes,
            newest_version_seen=self._inbox.newest_seen,
            last_heard_s=None if heard_s is None else self._clock() - heard_s,
            lost_links=talk.lost_links,
            bad_weights=self._inbox.bad_weights,
            sent=self._outbox.sent,
            stored=self._outbox.stored,
            dropped=self._overflowed + self._malformed + set_aside,
            start_step_count=0 if welcome is None else welcome.start_step_count,
            high_water={} if welcome is None else welcome.high_water,
            error=self._error,
            learner_stats=talk.learner_stats,
        )

    def close(self, drain_s: float = 5.0) -> bool:
        """Wait up to drain_s for acknowledgements, say Bye, end the thread. Any number of times.

        True when the learner has acknowledged everything; what it has not stays in the journal.
        """
        if self._close_s is None:
            self._close_s = self._clock() + drain_s
            wake(self._writer)
        if self._thread is None:
            self._journal_queue(self.cfg.max_queued)
        else:
            # Beyond the drain only a disk that hangs can hold the thread; then it is left behind.
            self._thread.join(timeout=drain_s + 5.0)
            if self._thread.is_alive():
                log.error("the link thread does not end: is the journal's disk hanging?")
                return False
        self._reader.close()
        self._writer.close()
        return self._is_drained()

    # Everything below runs in the link thread.

    def _run(self) -> None:
        try:
            while not self._is_over():
                self._step()
            self._failed_s = -1e9  # one last attempt
            # What was sent during the last moment is not lost either.
            self._journal_queue(self.cfg.max_queued)
            if self._queue:
                log.error(
                    "%d chunks are lost: the journal %s took none until the end (%s)",
                    *(len(self._queue), self.cfg.journal.root, self._error),
                )
            self._talk.say_bye()
        finally:
            self._drop_socket(linger_ms=None)
            if self._context is not None:
                self._context.term()  # bounded by the socket's LINGER

    def _step(self) -> None:
        try:
            sock = self._socket or self._open()
            poller = zmq.Poller()
            poller.register(self._reader.fileno(), zmq.POLLIN)
            # A DEALER is writable from the moment it is connected: then Hello leaves at once.
            hello = zmq.POLLOUT if self._talk.hello_is_due() else 0
            poller.register(sock, zmq.POLLIN | hello)
            wait_s = 0.0 if self._has_work() else min(POLL_S, self.cfg.heartbeat_s / 2)
            poller.poll(round(1000 * wait_s))
            drain_wake(self._reader)
            self._journal_queue(CHUNKS_A_STEP)
            self._receive(sock)
            if not self._talk.keep_time():
                # A fresh socket connects at once, without waiting for TCP to give up.
                self._drop_socket(linger_ms=0)
                return
            self._talk.pump()
        except Exception as error:
            # The robot keeps moving and rows keep coming: whatever it is, begin afresh, slowly.
            if self._error is None:
                log.exception("the link failed; it starts anew every %g s", RETRY_S)
            self._error = f"{type(error).__name__}: {error}"
            self._talk.gone("the link failed")
            self._drop_socket(linger_ms=0)
            time.sleep(RETRY_S)

    def _has_work(self) -> bool:
        """Chunks wait, and the journal did not refuse one a moment ago."""
        return bool(self._queue) and self._clock() - self._failed_s >= RETRY_S

    def _journal_queue(self, most: int) -> None:
        if not self._has_work():
            return
        for _ in range(min(most, len(self._queue))):
            if not self._journal_one(self._queue[0]):
                self._failed_s = self._clock()
                return
            self._queue.popleft()
            if self._error is not None:
                log.warning("the journal %s takes chunks again", self.cfg.journal.root)
                self._error = None

    def _journal_one(self, chunk: Chunk) -> bool:
        """False when the disk does not take it: it is tried again."""
        try:
            self._outbox.add(chunk)
        except WireError as error:
            self._malformed += 1
            log.error("a malformed chunk of this actor is dropped: %s", error)
        except OSError as error:
            if self._error is None:
                log.error(
                    "the journal %s takes no chunk (%s): free some space; up to %d chunks wait in "
                    "memory",
                    *(self.cfg.journal.root, error, self.cfg.max_queued),
                )
            self._error = f"journal: {error}"
            return False
        return True

    def _receive(self, sock: zmq.Socket[bytes]) -> None:
        for _ in range(64):
            if not sock.poll(0):
                return
            self._talk.receive(sock.recv_multipart(zmq.DONTWAIT))

    def _try_send(self, frames: list[Frame]) -> bool:
        """False when the learner is not connected or does not keep up."""
        if self._socket is None:
            return False
        try:
            self._socket.send_multipart(frames, zmq.DONTWAIT)
        except zmq.Again:
            return False
        return True

    def _open(self) -> zmq.Socket[bytes]:
        if self._context is None:
            raise RuntimeError("start() makes the context")
        self._socket = open_dealer(self._context, self.cfg.address)
        self._talk.begin()
        return self._socket

    def _drop_socket(self, linger_ms: int | None) -> None:
        if self._socket is not None:
            self._socket.close(linger=linger_ms)
            self._socket = None

    def _is_drained(self) -> bool:
        return not self._queue and self.cfg.journal.depth.chunks == 0

    def _is_over(self) -> bool:
        if self._close_s is None:
            return False
        hopeless = self._talk.refused is not None or self._error is not None
        return hopeless or self._is_drained() or self._clock() >= self._close_s
