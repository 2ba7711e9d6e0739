"""The server lets messages gather between two looks; what cannot wait does not."""

from __future__ import annotations

import time

from tests.wire.bench import Bench, Store, eventually, make_chunk
from tests.wire.test_policies import blob

CALM = {"heartbeat_s": 50.0, "liveness_s": 100.0}  # no Ping ends or prolongs a pause


def test_chunks_that_gathered_share_one_commit(bench: Bench) -> None:
    store = Store()
    server = bench.server(store, gather_s=1.0)
    link = bench.link(server.bound_address, **CALM)
    eventually(lambda: link.status.connected)  # by a Hello, after which the others gather
    for sequence in range(4):
        link.send(make_chunk(sequence))
    eventually(lambda: link.status.stored == 4)
    assert store.commits < 4


def test_a_policy_does_not_wait_for_messages_to_gather(bench: Bench) -> None:
    server = bench.server(Store(), gather_s=60.0)
    link = bench.link(server.bound_address, **CALM)
    eventually(lambda: link.status.connected)
    server.publish(1, blob(1))
    assert link.wait_weights(1, timeout_s=20) is not None


def test_lockstep_waits_for_nothing(bench: Bench) -> None:
    server = bench.server(Store(), lockstep=True, gather_s=60.0)
    link = bench.link(server.bound_address, lockstep=True, **CALM)
    for sequence in range(3):
        link.send(make_chunk(sequence))
        eventually(lambda stored=sequence + 1: link.status.stored == stored)


def test_closing_ends_a_pause(bench: Bench) -> None:
    server = bench.server(Store(), gather_s=60.0)
    link = bench.link(server.bound_address, **CALM)
    eventually(lambda: link.status.connected)
    start_s = time.monotonic()
    server.close(timeout_s=30.0)
    assert time.monotonic() - start_s < 20
