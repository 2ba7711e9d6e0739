"""A child process: its priority, its end."""

from __future__ import annotations

import os
from pathlib import Path

from daydreamer.children import Child


def test_a_nice_child_lets_others_go_first(tmp_path: Path) -> None:
    child = Child("tasks", [], tmp_path / "log.txt", {}, niceness=3)
    child.start()
    try:
        assert child.pid is not None
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 3
    finally:
        child.stop(grace_s=10.0)
    assert not child.is_running
