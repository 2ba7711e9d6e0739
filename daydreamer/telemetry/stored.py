"""What `daydreamer info` needs of an archive. Reads without the lock, while a learner writes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from daydreamer.replay.ledger import ArchiveSummary
from daydreamer.replay.load import load_ledger
from daydreamer.replay.segments import ArchiveError, list_segments, read_segment, segment_path
from daydreamer.wire.records import TornTail
from daydreamer.wire.rows import Chunk

log = logging.getLogger(__name__)

RECENT_ROWS = 1000
_ATTEMPTS = 5  # a learner may drop its oldest segment while we read


@dataclass(frozen=True)
class Stored:
    """An archive's account, and how much control it records."""

    summary: ArchiveSummary
    steps: Mapping[str, int]  # session -> control steps, evicted rows included
    robot_s: Mapping[str, float]  # session -> span of the body's clock
    reward_per_step: float | None  # over the last RECENT_ROWS rows that follow an action


def read_archive(root: Path) -> Stored | None:
    """None when nothing was stored yet. Raises ArchiveError where the archive is damaged."""
    if not root.is_dir() or not list_segments(root):
        return None
    for _ in range(_ATTEMPTS):
        try:
            ledger = load_ledger(root).ledger
            rewards = _recent_rewards(root)
        except FileNotFoundError:
            log.info("a segment of %s was evicted while it was read; reading again", root)
            continue
        sessions = ledger.sessions.items()
        return Stored(
            summary=ledger.summary(),
            # Every row but an episode's first follows a control step. Where first rows are lost (a
            # gap), this is too few by one each.
            steps={name: max(0, mark.rows - mark.end.episode - 1) for name, mark in sessions},
            robot_s={name: mark.last_time_s - mark.first_time_s for name, mark in sessions},
            reward_per_step=float(np.mean(rewards)) if rewards else None,
        )
    raise ArchiveError(
        f"segments of {root} are evicted faster than they can be read; stop the learner"
    )


def _recent_rewards(root: Path) -> list[float]:
    recent: deque[float] = deque(maxlen=RECENT_ROWS)
    for number in reversed(list_segments(root)):
        older = list(recent)
        recent.clear()
        with segment_path(root, number).open("rb") as file:
            try:
                for _, record in read_segment(file, number):
                    if isinstance(record, Chunk):
                        taken = ~record.columns["is_first"]
                        recent.extend(record.columns["reward"][taken].tolist())
            except TornTail:
                log.debug("the newest record is being written")
        recent.extend(older)
        if len(recent) == RECENT_ROWS:
            break
    return list(recent)
