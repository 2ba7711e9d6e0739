"""Processes for the tests to kill: journal FOLDER, learner FOLDER PORT, actor FOLDER PORT ID."""

from __future__ import annotations

import itertools
import sys
import threading
from pathlib import Path

from daydreamer.replay.archive import Archive
from daydreamer.wire.journal import Journal
from daydreamer.wire.link import Link
from daydreamer.wire.server import Server
from tests.wire.bench import SCHEMA, link_config, make_chunk, server_config


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def journal(folder: str) -> None:
    """Append until killed, saying each sequence once append() has returned."""
    book = Journal(Path(folder))
    for sequence in itertools.count():
        book.append(make_chunk(sequence))
        say(sequence)


def learner(folder: str, port: str) -> None:
    """Serve until killed."""
    archive = Archive(Path(folder), SCHEMA, "test-run")
    server = Server(server_config(f"tcp://127.0.0.1:{port}"), archive)
    server.start()
    say("ready")
    threading.Event().wait(60)


def actor(folder: str, port: str, session: str) -> None:
    """Stream until killed, saying how many chunks were handed to the link."""
    link = Link(link_config(f"tcp://127.0.0.1:{port}", Path(folder), session=session))
    link.start()
    for sequence in itertools.count():
        link.send(make_chunk(sequence, session))
        say(sequence)
        threading.Event().wait(0.002)


if __name__ == "__main__":
    {"journal": journal, "learner": learner, "actor": actor}[sys.argv[1]](*sys.argv[2:])
