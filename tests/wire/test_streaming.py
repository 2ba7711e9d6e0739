from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import zmq

from daydreamer.wire import messages as m
from daydreamer.wire.codec import Frame, encode_chunk
from daydreamer.wire.conversation import Conversation
from daydreamer.wire.inbox import Inbox
from daydreamer.wire.journal import Journal
from daydreamer.wire.link import Link
from daydreamer.wire.outbox import Outbox
from daydreamer.wire.reception import Reception
from daydreamer.wire.rows import Chunk
from daydreamer.wire.server import Server
from daydreamer.wire.weights import pack_weights
from tests.wire.bench import (
    SCHEMA,
    Bench,
    Store,
    eventually,
    link_config,
    make_chunk,
    server_config,
)


class RawActor:
    """A DEALER that says whatever a test wants it to."""

    def __init__(self, server: Server, hello: bool = True, actor: str = "raw") -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.connect(str(server.bound_address))
        if hello:
            config = {"task.name": "a1_walk", "task.episode_steps": 250}
            self.say(m.Hello(actor, "r1", "same", config, SCHEMA))
            assert isinstance(self.hear(), m.Welcome)

    def say(self, message: m.Message) -> None:
        self.socket.send_multipart(m.encode(message))

    def hear(self) -> m.Message:
        assert self.socket.poll(10_000), "no answer"
        return m.decode(self.socket.recv_multipart())

    def __enter__(self) -> RawActor:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close(linger=0)
        self._context.term()


def chunk_message(sequence: int, **columns: object) -> m.ChunkMessage:
    chunk = make_chunk(sequence, "r1", "raw", **columns)  # type: ignore[arg-type]
    return m.ChunkMessage(tuple(encode_chunk(chunk)))


def test_chunks_arrive_once_in_order_and_are_forgotten_after_the_commit(bench: Bench) -> None:
    store, ingested = Store(), []
    server = bench.server(store, {"on_chunk": ingested.append})
    link = bench.link(server.bound_address)
    for sequence in range(50):
        link.send(make_chunk(sequence))
    assert link.close(drain_s=10)
    assert store.stored == [("s1", sequence) for sequence in range(50)]
    assert [chunk.sequence for chunk in ingested] == list(range(50))
    np.testing.assert_array_equal(ingested[7].columns["vector"], make_chunk(7).columns["vector"])
    assert link.status.journal_chunks == 0
    assert (server.peers()["a1"].chunks, server.peers()["a1"].duplicates) == (50, 0)
    assert store.commits >= 1


def test_send_never_waits_for_an_absent_learner(bench: Bench, tmp_path: Path) -> None:
    link = bench.link("tcp://127.0.0.1:1")
    for sequence in range(20):
        link.send(make_chunk(sequence))
    eventually(lambda: link.status.journal_chunks == 20)
    assert not link.status.connected
    assert link.close(drain_s=0.1) is False
    with pytest.raises(RuntimeError, match="closing"):
        link.send(make_chunk(20))
    assert len(Journal(tmp_path / "actor-a1" / "journal").pending()) == 20


def test_link_without_a_thread_still_journals_what_was_sent(tmp_path: Path) -> None:
    link = Link(link_config("tcp://127.0.0.1:1", tmp_path))
    link.send(make_chunk(0))
    assert link.close() is False
    assert link.status.journal_chunks == 1


def test_learner_that_comes_late_gets_everything(bench: Bench, tmp_path: Path) -> None:
    probe = bench.server(Store())
    address = str(probe.bound_address)
    probe.close()
    link = bench.link(address)
    for sequence in range(10):
        link.send(make_chunk(sequence))
    eventually(lambda: link.status.journal_chunks == 10)
    store = Store()
    bench.server(store, bind=address)
    assert link.close(drain_s=10)
    assert store.stored == [("s1", sequence) for sequence in range(10)]


def test_learner_that_restarts_gets_the_rest(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = Store()
    server = bench.server(store)
    link = bench.link(server.bound_address)
    for sequence in range(5):
        link.send(make_chunk(sequence))
    eventually(lambda: len(store.stored) == 5)
    server.close()
    eventually(lambda: not link.status.connected)
    for sequence in range(5, 9):
        link.send(make_chunk(sequence))
    bench.server(store, bind=str(server.bound_address))
    assert link.close(drain_s=10)
    assert store.stored == [("s1", sequence) for sequence in range(9)]
    assert link.status.lost_links == 1
    said = [r.message for r in caplog.records if r.name == "daydreamer.wire.conversation"]
    assert sum("is missing" in line for line in said) == 1
    assert sum(" answers after " in line for line in said) == 1


def test_learner_with_an_empty_archive_takes_over_in_the_middle(bench: Bench) -> None:
    server = bench.server(Store())
    link = bench.link(server.bound_address)
    link.send(make_chunk(0))
    link.send(make_chunk(1))
    eventually(lambda: link.status.stored == 2)
    server.close()
    link.send(make_chunk(2))
    fresh = Store()
    bench.server(fresh, bind=str(server.bound_address))
    assert link.close(drain_s=10)
    assert fresh.stored == [("s1", 2)]


def test_restarted_actor_sends_the_journal_of_its_last_session(bench: Bench) -> None:
    book = Journal(bench.folder / "actor-a1" / "journal")
    for sequence in range(3):
        book.append(make_chunk(sequence, "s0"))
    store = Store()
    server = bench.server(store)
    link = bench.link(server.bound_address, session="s1")
    link.send(make_chunk(0, "s1"))
    assert link.close(drain_s=10)
    assert sorted(store.stored) == [("s0", 0), ("s0", 1), ("s0", 2), ("s1", 0)]


def test_several_actors_feed_one_learner(bench: Bench) -> None:
    store = Store()
    server = bench.server(store)
    links = [bench.link(server.bound_address, actor=f"a{i}", session=f"s{i}") for i in range(3)]
    for sequence in range(10):
        for i, link in enumerate(links):
            link.send(make_chunk(sequence, f"s{i}", f"a{i}"))
    assert all(link.close(drain_s=10) for link in links)
    for i in range(3):
        assert [seq for name, seq in store.stored if name == f"s{i}"] == list(range(10))


def test_duplicate_is_acknowledged_and_not_stored(bench: Bench) -> None:
    store = Store()
    server = bench.server(store)
    with RawActor(server) as raw:
        for _ in range(2):
            raw.say(chunk_message(0))
            assert raw.hear() == m.Ack("r1", 0, -1)
    assert (store.stored, store.duplicates) == ([("r1", 0)], 1)
    assert server.peers()["raw"].duplicates == 1


def test_chunk_behind_a_gap_is_not_stored_and_asked_for_again(bench: Bench) -> None:
    store = Store()
    server = bench.server(store)
    with RawActor(server) as raw:
        raw.say(chunk_message(0))
        assert raw.hear() == m.Ack("r1", 0, -1)
        raw.say(chunk_message(2))
        assert raw.hear() == m.Ack("r1", 0, -1, resend=True)
        raw.say(m.Lost("r1", 5, 9))  # not what is missing: ignored
        raw.say(chunk_message(2))
        assert raw.hear() == m.Ack("r1", 0, -1, resend=True)
        raw.say(m.Lost("r1", 1, 1))
        raw.say(chunk_message(2))
        assert raw.hear() == m.Ack("r1", 2, -1)
    assert store.stored == [("r1", 0), ("r1", 2)]
    assert server.peers()["raw"].gaps == 2


def test_chunk_damaged_in_the_journal_is_a_gap_and_not_a_dead_end(bench: Bench) -> None:
    root = bench.folder / "actor-a1" / "journal"
    book = Journal(root)
    for sequence in range(4):
        book.append(make_chunk(sequence))
    (root / "s1" / "000000000002.chunk").write_bytes(b"garbage")
    store = Store()
    server = bench.server(store)
    link = bench.link(server.bound_address)
    assert link.close(drain_s=10)
    assert store.stored == [("s1", 0), ("s1", 1), ("s1", 3)]
    assert link.status.dropped == 1


def test_chunk_that_the_learner_refuses_is_set_aside(bench: Bench) -> None:
    book = Journal(bench.folder / "actor-a1" / "journal")
    chunks = [make_chunk(sequence, "s0") for sequence in range(4)]
    bad = {name: array for name, array in chunks[1].columns.items() if name != "log_speed"}
    chunks[1] = Chunk("test-run", "a1", "s0", 1, 1, 0, bad)  # from before the task was changed
    for chunk in chunks:
        book.append(chunk)
    store = Store()
    server = bench.server(store)
    link = bench.link(server.bound_address)
    assert link.close(drain_s=10)
    assert store.stored == [("s0", 0), ("s0", 2), ("s0", 3)]
    assert server.peers()["a1"].malformed == 1
    assert len(list(book.root.rglob("*.refused"))) == 1


def test_malformed_chunk_of_this_actor_harms_nobody(bench: Bench) -> None:
    store = Store()
    server = bench.server(store)
    link = bench.link(server.bound_address)
    nan = np.full((3, 3), np.nan, np.float32)
    for sequence in range(3):
        link.send(make_chunk(sequence, **({"vector": nan} if sequence == 1 else {})))
    assert link.close(drain_s=10)
    assert store.stored == [("s1", 0), ("s1", 2)]
    assert link.status.dropped == 1


def test_malformed_messages_are_counted_logged_once_and_answered(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    server = bench.server(store)
    link = bench.link(server.bound_address)
    with RawActor(server) as raw:
        good = chunk_message(0).frames
        for frames in ([b"\xc1"], [*good, b"more"], [good[0]], [*m.encode(m.Ping()), b"x"]):
            raw.socket.send_multipart(frames)
            assert isinstance(raw.hear(), m.Error)
        raw.say(m.Pong(3))
        assert raw.hear() == m.Error("'pong' is not for a learner")
        raw.say(m.ChunkMessage(tuple(encode_chunk(make_chunk(0, "r1", "someone-else")))))
        answer = raw.hear()
        assert isinstance(answer, m.Error)
        assert "'someone-else' found, 'raw' expected" in answer.reason
        raw.say(chunk_message(0))
        assert raw.hear() == m.Ack("r1", 0, -1)
    assert server.peers()["raw"].malformed == 6
    assert sum("malformed" in record.message for record in caplog.records) == 1
    link.send(make_chunk(0))
    assert link.close(drain_s=10)
    assert server.peers()["a1"].malformed == 0


def test_stranger_is_asked_to_say_hello(bench: Bench) -> None:
    store = Store()
    server = bench.server(store)
    with RawActor(server, hello=False) as raw:
        raw.say(chunk_message(0))
        assert raw.hear() == m.Error("say Hello first", hello=True)
        for _ in range(3):
            raw.socket.send(b"junk")
            assert isinstance(raw.hear(), m.Error)
    assert (server.strangers_malformed, store.stored, server.peers()) == (3, [], {})


def test_nothing_is_acknowledged_while_the_store_fails(bench: Bench) -> None:
    store = Store()
    store.broken = "No space left on device"
    server = bench.server(store)
    link = bench.link(server.bound_address)
    link.send(make_chunk(0))
    eventually(lambda: server.failure)
    assert "No space left" in str(server.failure)
    assert link.status.journal_chunks == 1
    assert link.status.connected
    store.broken = None
    assert link.close(drain_s=10)
    assert store.stored == [("s1", 0)]
    assert server.failure is None


def test_chunk_whose_commit_failed_is_neither_acknowledged_nor_ingested_twice(bench: Bench) -> None:
    store, ingested = Store(), []
    store.broken_commit = "Input/output error"
    server = bench.server(store, {"on_chunk": ingested.append})
    link = bench.link(server.bound_address)
    link.send(make_chunk(0))
    eventually(lambda: server.failure)
    assert (link.status.journal_chunks, ingested) == (1, [])
    store.broken_commit = None
    assert link.close(drain_s=10)
    assert [chunk.sequence for chunk in ingested] == [0]
    assert store.duplicates >= 1


def test_a_welcome_vouches_for_nothing_that_is_not_committed() -> None:
    answers: list[m.Message] = []

    def send(identity: bytes, frames: list[Frame]) -> bool:
        answers.append(m.decode(frames))
        return True

    store = Store()
    talk = Reception(server_config(), store, send)
    config = {"task.name": "a1_walk", "task.episode_steps": 250}
    hello = m.encode(m.Hello("raw", "r1", "same", config, SCHEMA))
    talk.receive(b"1", hello)
    talk.receive(b"1", m.encode(chunk_message(0)))
    talk.receive(b"2", hello)  # the same actor on a fresh connection, in the same batch
    assert store.stored == [("r1", 0)]
    assert [answer.high_water for answer in answers if isinstance(answer, m.Welcome)] == [
        {"r1": -1},
        {"r1": -1},
    ]
    talk.settle()
    talk.receive(b"2", hello)
    assert isinstance(answers[-1], m.Welcome)
    assert answers[-1].high_water == {"r1": 0}


def test_a_link_that_reached_itself_asks_for_a_fresh_socket(tmp_path: Path) -> None:
    sent: list[list[Frame]] = []

    def send(frames: list[Frame]) -> bool:
        sent.append(frames)
        return True

    cfg = link_config("tcp://127.0.0.1:1", tmp_path)
    talk = Conversation(cfg, Outbox(cfg.journal, cfg.schema, 16), Inbox("s1"), send)
    assert talk.keep_time()
    talk.receive(sent[0])
    assert not talk.keep_time()
    talk.begin()
    assert talk.keep_time()
    assert len(sent) == 2  # greets again


def test_fault_in_the_learners_callback_is_shown_and_service_goes_on(bench: Bench) -> None:
    def raises(chunk: Chunk) -> None:
        raise RuntimeError("replay is broken")

    server = bench.server(Store(), {"on_chunk": raises})
    link = bench.link(server.bound_address)
    link.send(make_chunk(0))
    link.send(make_chunk(1))
    assert link.close(drain_s=10)
    assert server.failure == "RuntimeError: replay is broken"


def test_peer_that_does_not_read_blocks_nobody(bench: Bench) -> None:
    store = Store()
    server = bench.server(store)
    server.publish(0, pack_weights({"w": np.zeros(1 << 18, np.float32)}, 0, 0.0))
    with RawActor(server) as raw:
        for _ in range(600):  # 600 MB of answers that are never read
            raw.socket.send_multipart(m.encode(m.WeightsRequest(-1)), zmq.DONTWAIT)
        link = bench.link(server.bound_address)
        link.send(make_chunk(0))
        assert link.close(drain_s=10)


def test_heartbeats_carry_figures_both_ways(bench: Bench) -> None:
    on = {"step_count": lambda: 77, "figures": lambda session: {f"{session}/updates": 9.0}}
    server = bench.server(Store(), on)
    link = bench.link(server.bound_address)
    link.set_stats({"late_steps": 3.0})
    eventually(lambda: link.status.learner_stats == {"s1/updates": 9.0})
    assert server.peers()["a1"].stats == {"late_steps": 3.0}
    assert (link.status.run, link.status.start_step_count) == ("test-run", 77)


def test_figures_are_asked_for_between_two_heartbeats(bench: Bench) -> None:
    counted = iter(range(1000))
    server = bench.server(Store(), {"figures": lambda session: {"asked": float(next(counted))}})
    link = bench.link(server.bound_address, heartbeat_s=60.0, liveness_s=90.0)
    eventually(lambda: link.status.learner_stats == {"asked": 0.0})
    link.ask()
    eventually(lambda: link.status.learner_stats == {"asked": 1.0})


def test_actor_that_falls_silent_counts_as_away(bench: Bench) -> None:
    server = bench.server(Store(), liveness_s=0.2)
    with RawActor(server) as raw:
        assert server.peers()["raw"].connected
        eventually(lambda: not server.peers()["raw"].connected)
        raw.say(m.Ping())
        assert isinstance(raw.hear(), m.Pong)
        assert server.peers()["raw"].connected


def test_full_disk_on_the_robot_is_reported_and_survived(bench: Bench) -> None:
    store = Store()
    server = bench.server(store)
    link = bench.link(server.bound_address, max_queued=3)
    blocker = bench.folder / "actor-a1" / "journal" / "s1"
    blocker.write_text("a file where a folder has to be")  # root ignores permissions
    for sequence in range(5):
        link.send(make_chunk(sequence))
    eventually(lambda: link.status.error)
    assert link.status.dropped >= 1
    blocker.unlink()
    eventually(lambda: len(store.stored) == 5 - link.status.dropped)
    assert link.status.error is None


def test_a_disk_slower_than_the_actor_does_not_keep_the_link_from_listening(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    server = bench.server(store)
    append = Journal.append_frames

    def slow(self: Journal, session: str, sequence: int, frames: list[bytes]) -> None:
        time.sleep(0.02)
        append(self, session, sequence, frames)

    monkeypatch.setattr(Journal, "append_frames", slow)
    link = Link(link_config(str(server.bound_address), bench.folder))
    link.send(make_chunk(0))
    link.start()
    sent = 1
    while not link.status.connected and sent < 300:
        link.send(make_chunk(sent))
        sent += 1
        time.sleep(0.01)
    connected = link.status.connected  # although chunks came twice as fast as the disk took them
    assert link.close(drain_s=30)
    assert connected
    assert len(store.stored) == sent


def test_rows_that_found_no_disk_until_the_end_are_said_to_be_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    link = bench.link("tcp://127.0.0.1:1")
    blocker = bench.folder / "actor-a1" / "journal" / "s1"
    blocker.write_text("a file where a folder has to be")
    for sequence in range(2):
        link.send(make_chunk(sequence))
    eventually(lambda: link.status.error)
    assert link.close(drain_s=0) is False
    assert "2 chunks are lost: the journal" in caplog.text


def test_close_is_bounded_and_may_be_repeated(bench: Bench) -> None:
    server = Server(bench.server(Store()).cfg, Store())
    server.close()
    server.close()
    link = bench.link("tcp://127.0.0.1:1")
    assert link.close(drain_s=0)
    assert link.close(drain_s=0)
    assert not [t.name for t in threading.enumerate() if t.name == "wire-link"]
