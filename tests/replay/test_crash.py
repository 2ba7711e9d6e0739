from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from daydreamer.replay import archive as archive_module
from daydreamer.replay.archive import Archive
from daydreamer.replay.load import summarize
from daydreamer.replay.segments import ArchiveError
from daydreamer.replay.verify import verify
from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.rows import Chunk

Open = Callable[..., Archive]
HERE = Path(__file__).parent


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / "appender.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_learner_loses_nothing_acknowledged_and_stores_nothing_twice(
    open_archive: Open, root: Path
) -> None:
    acknowledged = -1
    for lines in (1, 40, 90):
        # The actor sends again from a little before what it knows to be stored.
        child = start("stream", str(root), str(max(0, acknowledged - 4)))
        overdue = threading.Timer(30, child.kill)
        overdue.start()
        assert child.stdout is not None
        heard = [int(child.stdout.readline()) for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        rest, _ = child.communicate(timeout=10)
        overdue.cancel()
        heard += [int(line) for line in rest.split("\n")[:-1]]
        assert child.returncode == -signal.SIGKILL
        acknowledged = max(heard)

        archive = open_archive(segment_bytes=20_000, capacity_rows=400)
        assert archive.high_water("s") >= acknowledged
        chunks = list(archive.chunks())
        sequences = [chunk.sequence for chunk in chunks]
        assert sequences == list(range(sequences[0], archive.high_water("s") + 1))
        for chunk in chunks:
            np.testing.assert_array_equal(
                chunk.columns["reward"], 4 * chunk.sequence + np.arange(4)
            )
        summary = archive.summary()
        assert (summary.gaps, summary.duplicates_stored) == (0, 0)
        assert summary.rows_ever == 4 * (archive.high_water("s") + 1)
        archive.close()
        assert verify(root).sound
    assert summarize(root).duplicates_dropped > 0
    assert sequences[0] > 0  # old segments were evicted on the way


def test_full_disk_leaves_no_half_record_and_names_the_cure(root: Path) -> None:
    child = start("full", str(root))
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    messages = out.splitlines()
    assert len(messages) == 2
    for message in messages:
        assert message.startswith(f"cannot append to {root / '000001.seg'}: ")
        assert "Cure: free space on the disk" in message
        assert "Nothing acknowledged is lost" in message
    assert verify(root).sound
    assert summarize(root).chunks == 3


def test_failed_fsync_is_never_followed_by_an_acknowledgement(
    open_archive: Open,
    make_chunk: Callable[..., Chunk],
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = open_archive()
    archive.append(make_chunk(), encode_chunk(make_chunk()))

    def fail(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(archive_module.os, "fsync", fail)
    with pytest.raises(ArchiveError, match=r"cannot sync .*check the disk"):
        archive.commit()
    monkeypatch.undo()
    with pytest.raises(ArchiveError, match=r"an fsync failed .*restart the learner"):
        archive.commit()
    archive.close()
    assert open_archive().high_water("s0") == 0


def test_folder_that_cannot_be_made_is_an_error_with_a_cure(
    tmp_path: Path, open_archive: Open
) -> None:
    (tmp_path / "learner").write_text("a file where the folder belongs")
    with pytest.raises(ArchiveError, match=r"cannot open .*Not a directory.*Cure: check the disk"):
        open_archive()
