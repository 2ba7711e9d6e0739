"""What the command line says: `group=option` and `key=value`, checked against the dataclasses."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_origin

from daydreamer.config.errors import ConfigError, nearest
from daydreamer.config.groups import GROUPS
from daydreamer.config.schema import Config
from daydreamer.config.typed import accepts_none, accepts_text, convert, field_types, join

# Short names that commands are documented with.
SHORTCUTS = {"bind": "learner.bind", "insecure": "learner.insecure", "id": "actor.id"}


@dataclass
class Overrides:
    """The words of a command line, sorted but not yet checked."""

    groups: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)  # dotted key -> text as written


def split(words: Sequence[str]) -> Overrides:
    """Tell group=option from key=value. Raises ConfigError for anything else."""
    found = Overrides()
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r} is not key=value. Write e.g. task=a1_walk steps=20000.")
        if key[0] in "+~":
            raise ConfigError(
                f"{word}: keys are neither added nor removed here. Write {key.lstrip('+~')}=VALUE."
            )
        # `learner` is both a group and, for an actor, where the learner is.
        if key == "learner" and ":" in text:
            key = "actor.learner"
        key = SHORTCUTS.get(key, key)
        if key in GROUPS:
            found.groups[key] = text
        else:
            found.values[key] = text
    return found


def known_keys(task: type, body: type) -> dict[str, Any]:
    """{dotted key: annotation} of all that can be set, given the task's and body's dataclasses."""
    top = field_types(Config)
    keys = {key: kind for key, kind in top.items() if key not in ("task", "body", "size")}
    return _expand({**keys, "task": task, "body": body})


def parse(key: str, text: str, known: Mapping[str, Any]) -> Any:
    """`text` as a value of `key`, of the right type. Raises ConfigError with the nearest key."""
    annotation = _annotation(key, known)
    if accepts_text(annotation):
        if text in ("null", "None") and accepts_none(annotation):
            return None
        quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
        text = text[1:-1] if quoted else text
        return convert(annotation, text, key)
    value = _parse_value(key, text)
    convert(annotation, value, key)  # checks; the dataclass is built later, from plain data
    return value


def assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` in nested mappings, making those that are not there."""
    *path, last = key.split(".")
    for part in path:
        inner = data.get(part)
        if not isinstance(inner, dict):
            inner = data[part] = {}
        data = inner
    data[last] = value


def _expand(fields: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name, annotation in fields.items():
        key = join(where, name)
        if where or name not in GROUPS:
            keys[key] = annotation
        if (inner := _dataclass_in(annotation)) is not None:
            keys.update(_expand(field_types(inner), key))
    return keys


def _dataclass_in(annotation: Any) -> type | None:
    """The dataclass that `annotation` is, or is optionally."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return kind
    return None


def _annotation(key: str, known: Mapping[str, Any]) -> Any:
    if key in known:
        return known[key]
    parent, _, name = key.rpartition(".")
    kind = known.get(parent)
    origin = get_origin(kind) or kind
    if isinstance(origin, type) and issubclass(origin, Mapping):  # free keys, such as rules by name
        return get_args(kind)[1] if get_args(kind) else Any
    if parent in ("task", "body") and name == "kind":
        raise ConfigError(f"{key} is not set by itself. Choose {parent}=NAME.")
    raise ConfigError(f"unknown key {key}. {nearest(key, [*known, *GROUPS, *SHORTCUTS])}")


def _parse_value(key: str, text: str) -> Any:
    from hydra.errors import HydraException

    try:
        override = _parser().parse_override(f"{key}={text}")
    except HydraException as error:
        raise ConfigError(
            f"{key}={text} cannot be read as a value: check brackets and quotes."
        ) from error
    if override.is_sweep_override():
        raise ConfigError(f"{key}={text}: one value is wanted. For a list write {key}=[{text}].")
    return override.value()


@functools.cache
def _parser() -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create()
