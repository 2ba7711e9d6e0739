from __future__ import annotations

from pathlib import Path

import numpy as np

from daydreamer.wire.weights import pack_weights
from tests.wire.bench import Bench, Store, eventually, make_chunk


def blob(version: int) -> bytes:
    return pack_weights({"w": np.full(4, version, np.float32)}, version, cut_time_s=1.0 * version)


def test_weights_reach_every_actor_and_are_returned_once(bench: Bench) -> None:
    server = bench.server(Store())
    links = [bench.link(server.bound_address, actor=f"a{i}") for i in range(2)]
    eventually(lambda: all(link.status.connected for link in links))
    assert links[0].newest_weights() is None
    server.publish(3, blob(3))
    for link in links:
        weights = link.wait_weights(3, timeout_s=10)
        assert weights is not None
        np.testing.assert_array_equal(weights.tensors["w"], np.full(4, 3, np.float32))
        assert link.newest_weights() is None
        assert link.status.newest_version_seen == 3


def test_late_joiner_gets_the_newest_weights_at_once(bench: Bench) -> None:
    server = bench.server(Store())
    for version in range(5):
        server.publish(version, blob(version))
    weights = bench.link(server.bound_address).wait_weights(0, timeout_s=10)
    assert weights is not None
    assert weights.version == 4


def test_only_the_newest_weights_are_kept(bench: Bench) -> None:
    server = bench.server(Store())
    link = bench.link(server.bound_address)
    for version in range(1, 30):
        server.publish(version, blob(version))
        eventually(lambda: link.status.connected)
    last = link.wait_weights(29, timeout_s=10)
    assert last is not None
    assert last.version == 29
    assert link.newest_weights() is None
    assert link.wait_weights(30, timeout_s=0.01) is None


def test_bad_weights_are_refused_counted_reported_and_replaced(bench: Bench) -> None:
    server = bench.server(Store())
    link = bench.link(server.bound_address)
    good = blob(1)
    server.publish(1, good[:-1] + bytes([good[-1] ^ 1]))
    eventually(lambda: link.status.bad_weights == 1)
    eventually(lambda: server.peers()["a1"].errors == 1)
    assert link.newest_weights() is None
    server.publish(2, blob(2))
    weights = link.wait_weights(2, timeout_s=10)
    assert weights is not None
    assert (weights.version, link.status.bad_weights) == (2, 1)


def test_learner_that_resumed_from_an_older_checkpoint_is_followed_back(bench: Bench) -> None:
    server = bench.server(Store())
    server.publish(100, blob(100))
    link = bench.link(server.bound_address)
    assert link.wait_weights(100, timeout_s=10) is not None
    server.close()
    resumed = bench.server(Store(), bind=str(server.bound_address))
    resumed.publish(90, blob(90))
    weights = link.wait_weights(90, timeout_s=10)
    assert weights is not None
    assert weights.version == 90


def test_lockstep_actor_and_learner_take_turns(bench: Bench) -> None:
    server = bench.server(Store(), lockstep=True)
    link = bench.link(server.bound_address, lockstep=True)
    assert link.wait_turn(0, timeout_s=0.01) is None
    for sequence in range(5):
        link.send(make_chunk(sequence))
        eventually(lambda: server.peers().get("a1") and server.peers()["a1"].chunks > sequence)  # noqa: B023
        server.publish(10 * sequence, blob(10 * sequence))
        server.grant_turn("s1", sequence, 10 * sequence)
        assert link.wait_turn(sequence, timeout_s=10) == 10 * sequence
        assert link.wait_weights(10 * sequence, timeout_s=10) is not None
    assert link.wait_turn(3, timeout_s=0) == 40  # the newest version covers earlier turns
    assert link.close(drain_s=10)


def test_turn_granted_while_the_actor_was_away_reaches_it(bench: Bench) -> None:
    server = bench.server(Store(), lockstep=True)
    server.grant_turn("s1", 4, 7)
    link = bench.link(server.bound_address, lockstep=True)
    assert link.wait_turn(4, timeout_s=10) == 7


def test_restarted_lockstep_learner_can_grant_the_turn_again(bench: Bench, tmp_path: Path) -> None:
    store = Store()
    server = bench.server(store, lockstep=True)
    link = bench.link(server.bound_address, lockstep=True)
    link.send(make_chunk(0))
    eventually(lambda: store.stored)
    server.close()
    again = bench.server(store, lockstep=True, bind=str(server.bound_address))
    again.grant_turn("s1", 0, 5)  # before the actor is back, or after
    assert link.wait_turn(0, timeout_s=10) == 5
