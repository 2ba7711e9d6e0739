from __future__ import annotations

import errno
import logging
import socket
from pathlib import Path
from typing import Any

import pytest
import zmq

from daydreamer.wire.link import Link
from daydreamer.wire.rows import Column
from daydreamer.wire.server import Server
from daydreamer.wire.sockets import FREE_PORTS, BindError
from tests.wire.bench import (
    CONFIG,
    SCHEMA,
    Bench,
    Store,
    eventually,
    link_config,
    make_chunk,
    server_config,
)


def test_different_config_is_refused_line_by_line(bench: Bench) -> None:
    server = bench.server(Store())
    config = {"task.name": "a1_walk", "task.episode_steps": 500, "task.extra": True}
    link = bench.link(server.bound_address, fingerprint="other", config=config)
    eventually(lambda: link.status.refused)
    refused = link.status.refused
    assert refused is not None
    assert "task.episode_steps: actor has 500, learner has 250" in refused
    assert "task.extra: actor has True, learner has nothing" in refused
    assert "task.name" not in refused
    assert not link.status.connected
    assert server.peers() == {}
    assert link.close(drain_s=10) is True  # nothing to send: refused or not


def test_different_fingerprint_without_a_visible_difference_is_refused(bench: Bench) -> None:
    server = bench.server(Store())
    link = bench.link(server.bound_address, fingerprint="other")
    eventually(lambda: link.status.refused)
    assert "fingerprint: actor has 'other', learner has 'same'" in str(link.status.refused)


def test_different_rows_are_refused_column_by_column(bench: Bench) -> None:
    server = bench.server(Store())
    schema = {**SCHEMA, "vector": Column("float32", (9,))}
    link = bench.link(server.bound_address, schema=schema)
    eventually(lambda: link.status.refused)
    says = "column 'vector': actor has float32[9], learner has float32[3]"
    assert says in str(link.status.refused)


def test_lockstep_and_async_do_not_mix(bench: Bench) -> None:
    server = bench.server(Store(), lockstep=True)
    link = bench.link(server.bound_address)
    eventually(lambda: link.status.refused)
    assert link.status.refused == "mode: actor has async, learner has lockstep"


def test_an_actor_of_another_run_keeps_its_rows(bench: Bench) -> None:
    store = Store()
    server = bench.server(store, run="tuesday")
    link = bench.link(server.bound_address, run="monday")
    link.send(make_chunk(0))
    eventually(lambda: link.status.refused)
    assert link.status.refused == "run: actor has monday, learner has tuesday"
    assert link.close(drain_s=0) is False
    assert link.status.journal_chunks == 1
    assert store.stored == []


def test_lockstep_takes_one_actor_at_a_time(bench: Bench) -> None:
    server = bench.server(Store(), lockstep=True)
    first = bench.link(server.bound_address, lockstep=True)
    eventually(lambda: first.status.connected)
    second = bench.link(server.bound_address, lockstep=True, actor="a2", session="s2")
    eventually(lambda: second.status.refused)
    assert "mode=lockstep takes turns with one actor, and 'a1' is connected" in str(
        second.status.refused
    )
    first.close(drain_s=0)
    eventually(lambda: second.status.connected)


def test_refused_actor_is_welcome_once_the_learner_agrees(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    first = bench.server(Store(), fingerprint="other")
    link = bench.link(first.bound_address)
    eventually(lambda: link.status.refused)
    first.close()
    bench.server(Store(), bind=str(first.bound_address))
    eventually(lambda: link.status.connected)
    assert link.status.refused is None
    said = [r.message for r in caplog.records if "refuses this actor" in r.message]
    assert len(said) == 1
    assert "fingerprint: actor has 'same', learner has 'other'" in said[0]


def test_two_live_actors_with_one_id_are_told_apart(bench: Bench, tmp_path: Path) -> None:
    server = bench.server(Store())
    old = bench.link(server.bound_address, session="s1")
    eventually(lambda: old.status.connected)
    new = Link(link_config(str(server.bound_address), tmp_path / "elsewhere", session="s2"))
    new.start()
    eventually(lambda: new.status.connected)
    eventually(lambda: old.status.refused)
    assert "actor id 'a1' is used by a newer session, s2" in str(old.status.refused)
    assert new.status.connected
    assert new.close(drain_s=0)


def test_config_that_cannot_travel_fails_at_once(tmp_path: Path) -> None:
    bad: dict[str, Any] = {"config": {**CONFIG, "deep": {"a": 1}}}
    with pytest.raises(ValueError, match="expected a plain value"):
        Link(link_config("tcp://127.0.0.1:5555", tmp_path, **bad))


@pytest.mark.parametrize("address", ["127.0.0.1:5555", "tcp://*:5555", "tcp://host", "http://a:1"])
def test_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises((ValueError, OSError), match="tcp://"):
        Link(link_config(address, tmp_path))


def test_busy_port_is_named_with_a_cure() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = Server(server_config(f"tcp://127.0.0.1:{port}"), Store())
        with pytest.raises(BindError, match=f"port {port} is taken.*choose another port"):
            server.start()
        server.close()


def test_any_free_port_is_the_former_one_if_it_is_free(bench: Bench) -> None:
    first = bench.server(Store())
    former = str(first.bound_address)
    assert int(former.rpartition(":")[2]) in FREE_PORTS
    beside = bench.server(Store(), former=former)
    assert beside.bound_address != former
    first.close()
    assert bench.server(Store(), former=former).bound_address == former


def test_port_that_is_not_allowed_is_named_with_a_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: zmq.Socket[bytes], address: str) -> None:
        raise zmq.ZMQError(errno.EACCES)

    server = Server(server_config("tcp://127.0.0.1:80"), Store())
    monkeypatch.setattr(zmq.Socket, "bind", bind)  # tests may run as root, who may bind anything
    with pytest.raises(BindError, match=r"port 80 is not allowed.*Choose another port"):
        server.start()
    server.close()


def test_address_of_another_machine_is_explained() -> None:
    server = Server(server_config("tcp://192.0.2.1:5555", insecure=True), Store())
    with pytest.raises(BindError, match="give an address of this machine"):
        server.start()
    server.close()


@pytest.mark.parametrize("bind", ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://192.168.1.5:5555"])
def test_open_address_is_refused_unless_insecure(bind: str) -> None:
    with pytest.raises(BindError, match="insecure=true"):
        Server(server_config(bind), Store())


def test_insecure_is_said_loudly(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    server = bench.server(Store(), bind="tcp://0.0.0.0:*", insecure=True)
    loud = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(loud) == 1
    assert loud[0].startswith("INSECURE")
    assert str(server.bound_address) in loud[0]


def test_old_release_is_refused_with_advice(bench: Bench) -> None:
    server = bench.server(Store())
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(str(server.bound_address))
        dealer.send(b"\x82\xa8protocol\x00\xa4type\xa5hello")
        assert dealer.poll(10_000)
        answer = dealer.recv()
    assert b"same release" in answer
    assert b"protocol: actor has 0, learner has 2" in answer


def test_new_learner_is_reported_as_a_mismatch(bench: Bench) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        router.setsockopt(zmq.LINGER, 0)
        port = router.bind_to_random_port("tcp://127.0.0.1")
        link = bench.link(f"tcp://127.0.0.1:{port}")
        assert router.poll(10_000)
        identity, _ = router.recv_multipart()
        router.send_multipart([identity, b"\x82\xa8protocol\x07\xa4type\xa7welcome"])
        eventually(lambda: link.status.refused)
        assert link.status.refused == "protocol: actor has 2, learner has 7"
        link.close(drain_s=0)
