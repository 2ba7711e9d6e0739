"""The learner's end of the wire, in a thread of its own: training never delays an acknowledgement.

# actors        server thread                             learner's threads
# chunk ------> check, append, commit (fsync), Ack -----> on_chunk(chunk)
# request ----> newest blob                        <----- publish(version, blob)
#               Turn                               <----- grant_turn(session, sequence, version)
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

import zmq

from daydreamer.wire.headers import Frame
from daydreamer.wire.ingest import ChunkStore
from daydreamer.wire.peers import PeerStatus
from daydreamer.wire.reception import Reception, ServerConfig
from daydreamer.wire.rows import Chunk
from daydreamer.wire.sockets import check_bind, drain_wake, open_router, wake, wake_pair

__all__ = ["ChunkStore", "PeerStatus", "Server", "ServerConfig"]

log = logging.getLogger(__name__)

POLL_S = 0.1  # the longest nap; publish(), grant_turn() and, unless they gather, messages end it
BATCH_MESSAGES = 64  # messages taken before one commit acknowledges all their chunks
BATCH_BYTES = 64 << 20
WORTH_A_START = 4  # messages
SHORTEST_S = 0.001  # what ZeroMQ can wait


class Server:
    """Receives rows from any number of actors and hands them policies. Methods suit any thread.

    store: append, commit, high_water; called in the server's thread.
    on_chunk: called in the server's thread with each chunk once it is committed and acknowledged.
    step_count: control steps of the run stored so far (rows that are not an episode's first),
        told to actors at Welcome.
    figures: what a session's actor is told with each heartbeat; called in the server's thread.
    """

    def __init__(
        self,
        cfg: ServerConfig,
        store: ChunkStore,
        *,
        on_chunk: Callable[[Chunk], None] | None = None,
        step_count: Callable[[], int] | None = None,
        figures: Callable[[str], Mapping[str, float]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cfg = cfg
        self.bound_address: str | None = None  # as bound, with the real port
        self._exposed = check_bind(cfg.bind, cfg.insecure)
        self._talk = Reception(cfg, store, self._try_send, on_chunk, step_count, figures, clock)
        self._stop = threading.Event()
        self._reader, self._writer = wake_pair()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Bind and serve. Raises BindError, naming the port and a cure."""
        if self._context is not None:
            raise RuntimeError("this server was started before: make a new one")
        self._context = zmq.Context()
        try:
            self._socket = open_router(self._context, self.cfg.bind, self.cfg.former)
        except OSError:
            self._context.term()
            raise
        endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT)
        self.bound_address = bytes(endpoint).rstrip(b"\0").decode()
        if self._exposed:
            log.warning(
                "INSECURE: %s can be reached from the network, unencrypted, without keys: anyone "
                "there can feed this learner rows and read its policy",
                self.bound_address,
            )
        log.info("listening on %s", self.bound_address)
        self._thread = threading.Thread(target=self._run, name="wire-server", daemon=True)
        self._thread.start()

    def publish(self, version: int, blob: bytes) -> None:
        """Offer a policy made by `weights.pack_weights`; it replaces the one before."""
        self._talk.publish(version, blob)
        wake(self._writer)

    def grant_turn(self, session: str, sequence: int, version: int) -> None:
        """Lockstep: a session that sent chunks through `sequence` goes on with this policy."""
        self._talk.grant(session, sequence, version)
        wake(self._writer)

    def peers(self) -> dict[str, PeerStatus]:
        """Every actor that ever said Hello, by id."""
        return self._talk.statuses()

    @property
    def strangers_malformed(self) -> int:
        """Malformed messages from connections that never said Hello."""
        return self._talk.strangers_malformed

    @property
    def failure(self) -> str | None:
        """What is wrong, such as a full disk (no chunk is acknowledged then); None: nothing."""
        return self._talk.failure

    def close(self, timeout_s: float = 5.0) -> None:
        """Say Bye and end the thread. Any number of times."""
        self._stop.set()
        if self._thread is None:
            self._reader.close()
            self._writer.close()
            return
        if self._writer.fileno() >= 0:
            wake(self._writer)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the server thread does not end: is the archive's disk hanging?")
            return
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Everything below runs in the server's thread.

    def _run(self) -> None:
        assert self._socket is not None
        assert self._context is not None
        wakes, news = zmq.Poller(), zmq.Poller()
        wakes.register(self._reader.fileno(), zmq.POLLIN)
        news.register(self._reader.fileno(), zmq.POLLIN)
        news.register(self._socket, zmq.POLLIN)
        pause_s = self.cfg.gather_s
        try:
            while not self._stop.is_set():
                news.poll(round(1000 * POLL_S))
                taken = self._step(self._socket)
                if taken and not self.cfg.lockstep:
                    # Starting from cold caches costs this thread, and the training beside it, more
                    # than the work itself: let as many messages gather as are worth a start.
                    pause_s = max(SHORTEST_S, pause_s * WORTH_A_START / taken)
                    pause_s = min(self.cfg.gather_s, pause_s)
                    wakes.poll(round(1000 * pause_s))
            self._talk.say_bye()
        finally:
            self._socket.close()
            self._context.term()  # bounded by the socket's LINGER

    def _step(self, sock: zmq.Socket[bytes]) -> int:
        """Take what waits; return how many messages that was, 0 when the next are urgent."""
        messages, taken, held = 0, 0, self._talk.held_bytes
        is_urgent = False
        try:
            drain_wake(self._reader)
            while messages < BATCH_MESSAGES:
                # Few bytes on the wire may be many in memory.
                if max(taken, self._talk.held_bytes - held) > BATCH_BYTES:
                    break
                try:
                    identity, *frames = sock.recv_multipart(zmq.DONTWAIT)
                except zmq.Again:
                    break
                messages += 1
                taken += sum(map(len, frames))
                self._talk.receive(identity, frames)
            is_urgent = self._talk.settle()
            self._talk.keep_time()
        except Exception as error:  # noqa: BLE001 - logged by fail(); service goes on
            self._talk.fail(error)
            time.sleep(POLL_S)
        return 0 if is_urgent else messages

    def _try_send(self, identity: bytes, frames: list[Frame]) -> bool:
        """False when the peer is gone or does not keep up: nobody waits for it."""
        assert self._socket is not None
        try:
            # Weights are not copied: the same bytes go to every actor.
            self._socket.send_multipart([identity, *frames], zmq.DONTWAIT, copy=len(frames) == 1)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        return True
