"""Reading an archive's account from its segments. Needs no lock, also while a learner writes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from daydreamer.replay.ledger import ArchiveSummary, Ledger
from daydreamer.replay.segments import (
    ArchiveDamage,
    ArchiveError,
    list_segments,
    read_segment,
    require_consecutive,
    segment_path,
)
from daydreamer.wire.records import RecordError, TornTail

_ATTEMPTS = 5  # a learner that evicts faster than we read five times over is not waiting for us


@dataclass(frozen=True)
class Loaded:
    """An archive's account as found on disk."""

    ledger: Ledger
    torn: int | None  # where the newest segment ends within a record, in bytes


def load_ledger(root: Path) -> Loaded:
    """Read and check every record. Raises ArchiveDamage, or FileNotFoundError if one is evicted."""
    ledger = Ledger()
    torn = None
    numbers = list_segments(root)
    require_consecutive(root, numbers)
    for number in numbers:
        path = segment_path(root, number)
        with path.open("rb") as file:
            try:
                for _, record in read_segment(file, number):
                    ledger.note(record)
                size = file.tell()
            except TornTail as tail:
                if number != numbers[-1]:
                    raise ArchiveDamage(path, tail.offset, f"cut short: {tail.reason}") from tail
                torn = size = tail.offset
            except RecordError as error:
                raise ArchiveDamage(path, error.offset, error.reason) from error
        ledger.segments[-1].size_bytes = size
    return Loaded(ledger, torn)


def summarize(root: Path) -> ArchiveSummary:
    """Count what an archive holds by reading it, without its lock. Raises ArchiveError.

    A record that is being written at this moment is not counted.
    """
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(FileNotFoundError):  # a segment was evicted before we reached it
            return load_ledger(Path(root)).ledger.summary()
    raise ArchiveError(
        f"segments of {root} were evicted faster than they could be read, {_ATTEMPTS} times over: "
        "stop the learner, or ask it for these counts"
    )
