"""`daydreamer replay verify DIR [--repair]`: check a run's archive byte by byte, and mend it."""

from __future__ import annotations

import sys
from pathlib import Path

from daydreamer.config.errors import ConfigError, nearest

ACTIONS = ("verify",)


def main(words: list[str]) -> int:
    """0 when the archive is sound (or was made so), 1 when it is not. Raises ArchiveError."""
    flags = {word for word in words if word.startswith("-")}
    action, *folders = [word for word in words if word not in flags] or [""]
    if action not in ACTIONS:
        found = (
            f"replay {action}: there is no such action." if action else "replay needs an action."
        )
        raise ConfigError(f"{found} {nearest(action, ACTIONS)} Write e.g. replay verify DIR.")
    if unknown := sorted(flags - {"--repair"}):
        raise ConfigError(f"replay {action}: unknown option {unknown[0]}. Known: --repair.")
    if len(folders) != 1:
        raise ConfigError(
            f"replay {action}: expected one folder, found {len(folders)}; write it as DIR."
        )
    root = archive_folder(Path(folders[0]))
    return _repair(root) if "--repair" in flags else _verify(root)


def archive_folder(folder: Path) -> Path:
    """The archive below a run's folder, or `folder` itself when it is one."""
    below = folder / "learner" / "replay"
    return below if below.is_dir() else folder


def _verify(root: Path) -> int:
    from daydreamer.replay.verify import verify

    report = verify(root)
    for problem in report.problems:
        _say(str(problem))
    found = report.summary
    _say(
        f"{root}: {found.rows} rows in {found.chunks} chunks of {len(found.sessions)} sessions, "
        f"{found.gaps} gaps, {found.duplicates_stored} duplicates stored"
    )
    if report.sound:
        _say("every checksum is right")
        return 0
    _say(f"to mend it, with the learner stopped: daydreamer replay verify {root} --repair")
    return 1


def _repair(root: Path) -> int:
    from daydreamer.replay.verify import repair

    report = repair(root)
    for problem in report.problems:
        _say(f"was damaged: {problem}")
    for original in report.set_aside:
        _say(f"the original is kept as {original}")
    found = report.summary
    _say(f"{root}: sound, with {found.rows} rows in {found.chunks} chunks, {found.gaps} gaps")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
