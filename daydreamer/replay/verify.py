"""Checking an archive to the last byte, and making a damaged one usable again.

# verify   reads everything, changes nothing, goes on after damage
# repair   rewrites a damaged segment with its sound records; the original stays beside it as
#          000003.seg.damaged. A segment that is missing is replaced by one with marks only.
"""

from __future__ import annotations

import itertools
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from daydreamer.replay.ledger import ArchiveSummary, Ledger
from daydreamer.replay.marks import Marks
from daydreamer.replay.salvage import Problem, survey
from daydreamer.replay.segments import (
    ArchiveError,
    disk_error,
    list_segments,
    locked,
    segment_path,
    write_segment,
)
from daydreamer.wire.rows import Chunk, Column, Schema

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VerifyReport:
    """What reading every byte found."""

    problems: tuple[Problem, ...]
    summary: ArchiveSummary  # of the sound records

    @property
    def sound(self) -> bool:
        """True if every byte checks and no chunk is stored twice."""
        return not self.problems and self.summary.duplicates_stored == 0


@dataclass(frozen=True)
class RepairReport:
    """What a repair did."""

    problems: tuple[Problem, ...]  # as found before
    set_aside: tuple[Path, ...]  # originals of the segments that were rewritten
    summary: ArchiveSummary  # of the archive as it is now


def verify(root: Path) -> VerifyReport:
    """Check every record of an archive without changing it. Raises ArchiveError if there is none.

    A record cut short at the very end is a problem too: its learner died while writing it, and the
    next one cuts it off. While a learner is writing here, that may be the record in its hands.
    """
    ledger = Ledger()
    problems: list[Problem] = []
    for salvage in survey(Path(root)):
        problems += salvage.problems
        ledger.note(salvage.marks or _marks(salvage.number, ledger, Path(root)))
        ledger.segments[-1].size_bytes = salvage.size_bytes
        for _, record in salvage.records:
            ledger.note(record)
    return VerifyReport(tuple(problems), ledger.summary())


def repair(root: Path) -> RepairReport:
    """Keep every sound record, once, and make the archive open again.

    Raises ArchiveError while a learner holds the archive, if nothing in it is sound, or if the disk
    refuses; the archive is then no worse than before.
    """
    root = Path(root)
    list_segments(root)  # says so if there is no archive
    ledger = Ledger()
    problems: list[Problem] = []
    set_aside: list[Path] = []
    with locked(root):
        for salvage in survey(root):
            problems += salvage.problems
            marks = salvage.marks or _marks(salvage.number, ledger, root)
            if not marks.schema:
                raise ArchiveError(f"nothing in {root} is sound: move it away and start afresh")
            ledger.note(marks)
            kept: list[list[bytes]] = []
            for frames, record in salvage.records:
                fresh = not isinstance(record, Chunk) or (
                    record.sequence > ledger.high_water(record.session)
                )
                if fresh:
                    ledger.note(record)
                    kept.append(frames)
            path = segment_path(root, salvage.number)
            if salvage.problems or len(kept) < len(salvage.records):
                try:
                    if path.exists():
                        set_aside.append(_set_aside(path))
                    write_segment(root, marks, kept)
                except OSError as error:
                    raise disk_error(path, "rewrite", error) from error
                log.warning("%s: rewritten with its %d sound records", path, 1 + len(kept))
            ledger.segments[-1].size_bytes = path.stat().st_size
    return RepairReport(tuple(problems), tuple(set_aside), ledger.summary())


def _marks(number: int, ledger: Ledger, root: Path) -> Marks:
    """Marks in place of damaged ones, from what comes before, or else from anything sound."""
    run, schema = ledger.run, ledger.schema
    if run is None or not schema:
        run, schema = _identity(root)
    return Marks(number, run, schema, ledger.duplicates_dropped, dict(ledger.sessions))


def _identity(root: Path) -> tuple[str, Schema]:
    """Run and schema by the first sound record of the archive; an empty schema if there is none."""
    for salvage in survey(root):
        if salvage.marks is not None:
            return salvage.marks.run, salvage.marks.schema
        for _, record in salvage.records:
            if isinstance(record, Chunk):
                columns = record.columns.items()
                return record.run, {n: Column(a.dtype.name, a.shape[1:]) for n, a in columns}
    return "", {}


def _set_aside(path: Path) -> Path:
    """Copy a file to a free name beside it; the original stays until it is replaced."""
    names = (path.with_suffix(f".seg.damaged{count or ''}") for count in itertools.count())
    copy = next(name for name in names if not name.exists())
    shutil.copy2(path, copy)
    return copy
