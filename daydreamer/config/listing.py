"""`daydreamer tasks`: what there is to choose from."""

from __future__ import annotations

import sys

from daydreamer.config.errors import ConfigError
from daydreamer.config.groups import CONFIGS, options, read_option


def tasks_main(words: list[str]) -> int:
    """The command."""
    if words:
        raise ConfigError(f"tasks takes no arguments, found {' '.join(words)}.")
    sys.stdout.write(listing() + "\n")
    return 0


def listing() -> str:
    """Tasks with the first line of their file and their bodies, then the sizes."""
    lines = []
    for task in options("task"):
        content = read_option("task", task)
        about = (CONFIGS / "task" / f"{task}.yaml").read_text(encoding="utf-8").splitlines()[0]
        bodies = content.get("bodies") or {}
        lines.append(f"task={task}  {about.lstrip('# ')}")
        lines += [f"    body={alias}  ({name})" for alias, name in sorted(bodies.items())]
        if content.get("image"):
            lines.append("    looks at images")
    lines.append("sizes: " + " ".join(f"size={name}" for name in options("size")))
    return "\n".join(lines)
