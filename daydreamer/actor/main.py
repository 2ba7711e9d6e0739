"""`daydreamer actor`: one robot, one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daydreamer import process

if TYPE_CHECKING:
    from daydreamer.config import Config


def main(cfg: Config) -> int:
    """Drive cfg.body until cfg.steps, a signal or a fault; returns the exit code."""
    process.follow_parent()
    process.start_logging(cfg.folder / f"actor-{cfg.actor.id}" / "log.txt")
    process.limit_threads(cfg.actor.threads)
    # Only now: numpy and torch read the limits when they are imported.
    from daydreamer.actor.session import run_session

    return run_session(cfg, process.StopFlag().install())
