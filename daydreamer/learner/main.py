"""`daydreamer learner`: stores experience, trains, publishes policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daydreamer import process
from daydreamer.learner.launch import check_shares, launched

if TYPE_CHECKING:
    from daydreamer.config import Config


def main(cfg: Config) -> int:
    """Learn in cfg.run until a signal or a fault; returns the exit code."""
    launch = launched()
    check_shares(cfg, launch.size)
    process.follow_parent()
    if launch.rank == 0:
        process.start_logging(cfg.folder / "learner" / "log.txt")
    process.limit_threads(cfg.learner.threads)
    # Only now: numpy and torch read the limits when they are imported.
    from daydreamer.learner.session import run_session

    return run_session(cfg, process.StopFlag().install(), launch)
