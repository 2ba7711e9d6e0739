"""A learner reduced to its archive, for tests that kill it or take its disk away.

python appender.py stream ROOT FIRST     append and commit from sequence FIRST until killed;
                                         one line per sequence once it may be acknowledged
python appender.py full ROOT             append under a file size limit that is then lifted
"""

from __future__ import annotations

import itertools
import resource
import sys
from pathlib import Path

from conftest import build_chunk, build_schema

from daydreamer.replay.archive import Archive
from daydreamer.replay.segments import ArchiveError, segment_path
from daydreamer.wire.codec import encode_chunk


def say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def stream(root: Path, first: int) -> None:
    archive = Archive(root, build_schema(), "run", segment_bytes=20_000, capacity_rows=400)
    for sequence in itertools.count(first):
        chunk = build_chunk("s", sequence, value=4 * sequence, first_row=4 * sequence)
        archive.append(chunk, encode_chunk(chunk))
        if sequence % 3 == 0:
            archive.commit()
            say(sequence)


def full(root: Path) -> None:
    archive = Archive(root, build_schema(), "run")
    chunks = [build_chunk("s", i, value=4 * i, first_row=4 * i) for i in range(3)]
    archive.append(chunks[0], encode_chunk(chunks[0]))
    archive.commit()
    path = segment_path(root, 1)
    before = path.stat().st_size
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (before + 100, hard))  # room for half a record
    for _ in range(2):
        try:
            archive.append(chunks[1], encode_chunk(chunks[1]))
        except ArchiveError as error:
            say(error)
        assert path.stat().st_size == before, "half a record was left behind"
        assert archive.high_water("s") == 0
    archive.commit()
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for chunk in chunks[1:]:
        assert archive.append(chunk, encode_chunk(chunk))
    archive.close()


if __name__ == "__main__":
    verb, root, *rest = sys.argv[1:]
    if verb == "stream":
        stream(Path(root), int(rest[0]))
    else:
        full(Path(root))
