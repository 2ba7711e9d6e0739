"""Keys, defaults and meanings for --help, read off the dataclasses: they are written once."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence

from daydreamer.agents.config import AgentConfig
from daydreamer.config.schema import ActorConfig, Config, LearnerConfig, WireConfig
from robots.safety_config import SafetyConfig

_SECTIONS: dict[str, type] = {
    "run": Config,
    "agent": AgentConfig,
    "learner": LearnerConfig,
    "actor": ActorConfig,
    "actor.safety": SafetyConfig,
    "wire": WireConfig,
}
_COMMENT = re.compile(r"^ {4}(\w+): [^#\n]*# (.*)$", re.MULTILINE)


def describe(sections: Sequence[str]) -> str:
    """One line a key: `learner.batch=32  B, sequences in an update`."""
    lines: list[tuple[str, str]] = []
    for section in sections:
        cls = _SECTIONS[section]
        prefix = "" if section == "run" else f"{section}."
        for name, value in _scalars(cls).items():
            lines.append((f"{prefix}{name}={value}", _comments(cls).get(name, "")))
    width = max(len(key) for key, _ in lines)
    title = "Keys, with their defaults (task, body and size may set others):"
    return "\n".join([title, *(f"  {key:{width}}  {comment}".rstrip() for key, comment in lines)])


def _scalars(cls: type) -> dict[str, str]:
    """{field: default as it would be written}; required ones and nested configs are left out."""
    found = {}
    for field in dataclasses.fields(cls):
        if field.name == "run":
            found[field.name] = "runs/<task>"
        elif field.default is not dataclasses.MISSING:
            found[field.name] = _spell(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            made = field.default_factory()
            if isinstance(made, list):
                found[field.name] = f"[{','.join(map(_spell, made))}]"
    return found


def _spell(value: object) -> str:
    """As it would be written on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comments(cls: type) -> dict[str, str]:
    try:
        return dict(_COMMENT.findall(inspect.getsource(cls)))
    except OSError:  # installed without sources
        return {}
