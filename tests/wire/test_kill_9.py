"""Exactly once, with real processes that are killed without warning, and the real archive."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from daydreamer.replay.archive import Archive
from tests.wire.bench import SCHEMA, Bench, eventually, make_chunk


def stored(archive: Archive) -> dict[str, list[int]]:
    """Sequences on the disk, by session, in the order of the archive."""
    found: dict[str, list[int]] = {}
    for chunk in archive.chunks():
        found.setdefault(chunk.session, []).append(chunk.sequence)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_killed_learner_loses_and_doubles_nothing(bench: Bench, tmp_path: Path) -> None:
    rng, port = random.Random(0), free_port()
    link = bench.link(f"tcp://127.0.0.1:{port}")
    sequence = 0
    for _ in range(3):
        learner = bench.child("learner", tmp_path / "replay", port)
        assert learner.stdout is not None
        assert learner.stdout.readline() == "ready\n"
        eventually(lambda: link.status.connected)
        for _ in range(rng.randrange(20, 60)):
            link.send(make_chunk(sequence))
            sequence += 1
        goal = link.status.stored + rng.randrange(5, 20)
        eventually(lambda: link.status.stored >= goal)  # noqa: B023
        learner.kill()
        learner.wait(10)
    learner = bench.child("learner", tmp_path / "replay", port)
    assert link.close(drain_s=20)
    learner.kill()
    learner.wait(10)
    with Archive(tmp_path / "replay", SCHEMA, "test-run") as archive:
        assert stored(archive) == {"s1": list(range(sequence))}
        assert archive.summary().duplicates_stored == 0


def test_killed_actor_loses_nothing_that_was_journalled(bench: Bench, tmp_path: Path) -> None:
    with Archive(tmp_path / "replay", SCHEMA, "test-run") as archive:
        server = bench.server(archive)
        port = str(server.bound_address).rsplit(":", 1)[1]
        for session in ("s1", "s2"):
            actor = bench.child("actor", tmp_path, port, session)
            eventually(lambda: len(stored(archive).get(session, [])) >= 20)  # noqa: B023
            actor.kill()
            actor.wait(10)
        link = bench.link(server.bound_address, session="s3")
        waiting = link.cfg.journal.pending()
        assert link.close(drain_s=20)
        found = stored(archive)
        for session in ("s1", "s2"):
            assert found[session] == list(range(len(found[session])))
        assert {(name, seq) for name in found for seq in found[name]} >= set(waiting)
        assert archive.summary().duplicates_stored == 0
        server.close()
