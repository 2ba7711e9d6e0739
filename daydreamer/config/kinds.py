"""Tasks and bodies are named, not imported: their YAML says `kind: module:Class`."""

from __future__ import annotations

import dataclasses
import importlib
import re

from daydreamer.config.errors import ConfigError
from daydreamer.config.typed import field_types

# Keys of a task's or body's YAML that are not the dataclass's own.
RESERVED = ("option", "kind", "image", "bodies", "settings")

_KIND = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def import_kind(kind: object, where: str) -> type:
    """The dataclass that `kind` names; `where` is task or body, for messages (ConfigError)."""
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ConfigError(
            f"{where}.kind={kind}: expected module:Class, e.g. robots.a1.config:A1WalkConfig."
        )
    module_name, class_name = kind.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"{where}.kind={kind} cannot be imported ({error}). "
            "Check the module's name, and that the package that has it is installed."
        ) from error
    cls = getattr(module, class_name, None)
    builds = hasattr(cls, "build") or (where == "body" and hasattr(cls, "build_for"))
    if not isinstance(cls, type) or not dataclasses.is_dataclass(cls) or not builds:
        raise ConfigError(f"{where}.kind={kind}: expected a dataclass with build(), found {cls!r}.")
    if taken := sorted(set(field_types(cls)) & set(RESERVED)):
        raise ConfigError(
            f"{where}.kind={kind}: rename its field {taken[0]}, which the config itself uses."
        )
    return cls
