"""The two sockets of the wire, with every option set before bind or connect (later has no effect).

CURVE keys, once there are any, are set in these two functions and nowhere else.
"""

from __future__ import annotations

import errno
import itertools
import re
import secrets
import socket

import zmq

from daydreamer.wire.headers import MAX_CHUNK_BYTES
from daydreamer.wire.weights import MAX_WEIGHTS_BYTES

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]/\s]+):(?P<port>\*|\d{1,5})\Z")
_LOOPBACK = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])\Z")
LINGER_MS = 500  # a last Ack or Bye gets this long to leave
HEARTBEAT_MS = 5_000  # ZeroMQ's own, below ours: lets a socket forget a peer whose cable was pulled
HEARTBEAT_TIMEOUT_MS = 60_000  # generous: a heartbeat waits behind a large message on a slow link

# Where port * looks. Below what a kernel gives to outgoing connections (32768 and up): an actor
# that knocks at its dead learner's port could be given that very port, and so talk to itself.
FREE_PORTS = range(20_000, 32_768)
FREE_PORT_TRIES = 200


class BindError(OSError):
    """The learner's address cannot be used; the message says why and what to do."""


def check_bind(address: str, insecure: bool) -> bool:
    """True when the network can reach the address. Raises BindError when that was not asked for.

    Only insecure=True opens another address than this machine's own, because anyone who can reach
    it could feed the learner rows and read the policy.
    """
    host = _host(address)
    if host is None or _LOOPBACK.match(host):
        return False
    if not insecure:
        raise BindError(
            f"bind={address} can be reached from the network, and the wire is not encrypted. Use "
            f"bind=tcp://127.0.0.1:{_port(address)} (with an ssh tunnel from the robot), or say "
            "insecure=true on a network that you trust"
        )
    return True


def check_address(address: str) -> None:
    """Raises ValueError for something that is not a learner's address."""
    if address.startswith("tcp://") and (_host(address) == "*" or _port(address) == "*"):
        raise ValueError(
            f"learner={address} names no machine and port, e.g. tcp://192.168.1.5:5555"
        )
    _host(address)


def open_router(
    context: zmq.Context[zmq.Socket[bytes]], address: str, former: str | None = None
) -> zmq.Socket[bytes]:
    """The learner's bound ROUTER. Raises BindError naming the port and a cure.

    former: where port * is asked for, the address to take if it is still free.
    """
    router = context.socket(zmq.ROUTER)
    # Without MANDATORY a full or vanished peer would swallow messages unseen; with it, and with
    # DONTWAIT at every send, a slow peer costs an error and never a wait.
    router.setsockopt(zmq.ROUTER_MANDATORY, 1)
    router.setsockopt(zmq.SNDTIMEO, 0)
    router.setsockopt(zmq.SNDHWM, 256)
    router.setsockopt(zmq.RCVHWM, 64)  # a peer; what does not fit waits in that actor's journal
    router.setsockopt(zmq.MAXMSGSIZE, MAX_CHUNK_BYTES)
    _set_common(router)
    try:
        _bind(router, address, former)
    except zmq.ZMQError as error:
        router.close(linger=0)
        port = _port(address)
        if error.errno == zmq.EADDRINUSE:
            raise BindError(
                f"bind={address}: port {port} is taken, probably by another learner. Stop it "
                f"(`ss -ltnp 'sport = :{port}'` shows it) or choose another port"
            ) from error
        if error.errno == errno.EACCES:
            raise BindError(
                f"bind={address}: port {port} is not allowed for this user, as ports below 1024 "
                "rarely are. Choose another port, e.g. 5555"
            ) from error
        raise BindError(
            f"bind={address} failed ({error}): give an address of this machine, "
            "e.g. tcp://127.0.0.1:5555"
        ) from error
    return router


def open_dealer(context: zmq.Context[zmq.Socket[bytes]], address: str) -> zmq.Socket[bytes]:
    """An actor's DEALER, connecting in the background: the learner may be absent."""
    dealer = context.socket(zmq.DEALER)
    # Queue nothing for a learner that is not there: it would arrive, unasked, at the next one.
    dealer.setsockopt(zmq.IMMEDIATE, 1)
    dealer.setsockopt(zmq.SNDTIMEO, 0)
    dealer.setsockopt(zmq.SNDHWM, 64)
    dealer.setsockopt(zmq.RCVHWM, 256)
    dealer.setsockopt(zmq.MAXMSGSIZE, MAX_WEIGHTS_BYTES)
    dealer.setsockopt(zmq.RECONNECT_IVL, 100)
    dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 2_000)
    _set_common(dealer)
    dealer.connect(address)
    return dealer


def wake_pair() -> tuple[socket.socket, socket.socket]:
    """(reader, writer), both non-blocking: a byte wakes a thread that polls the reader."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    return reader, writer


def wake(writer: socket.socket) -> None:
    """Wake the polling thread. Never blocks: a full pipe means that it is awake already."""
    try:
        writer.send(b"\0")
    except BlockingIOError:
        return


def drain_wake(reader: socket.socket) -> None:
    """Take all waiting wake-ups at once."""
    try:
        while reader.recv(4096):
            continue
    except BlockingIOError:
        return


def _bind(router: zmq.Socket[bytes], address: str, former: str | None) -> None:
    """Bind; raises what ZeroMQ raises. Binding is the test of a port: nobody can come between."""
    if _port(address) != "*":
        router.bind(address)
        return
    host = address.rpartition(":")[0]
    free = (f"{host}:{secrets.choice(FREE_PORTS)}" for _ in range(FREE_PORT_TRIES))
    same_host = former is not None and former.rpartition(":")[0] == host
    for candidate in itertools.chain([former] if former and same_host else [], free):
        try:
            router.bind(candidate)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EADDRINUSE, errno.EACCES):
                raise
        else:
            return
    router.bind(address)  # whatever the kernel has


def _set_common(sock: zmq.Socket[bytes]) -> None:
    sock.setsockopt(zmq.LINGER, LINGER_MS)
    sock.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    sock.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)


def _host(address: str) -> str | None:
    """The host of a tcp address, None for one that never leaves the machine."""
    if address.startswith(("ipc://", "inproc://")):
        return None
    match = _TCP.match(address)
    if match is None:
        raise BindError(f"address {address!r} is not of the form tcp://HOST:PORT")
    return match["host"]


def _port(address: str) -> str:
    match = _TCP.match(address)
    return match["port"] if match else "5555"
