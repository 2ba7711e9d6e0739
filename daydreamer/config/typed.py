"""Plain data (YAML, command line) into dataclasses, strictly: no unknown key, no lossy cast.

Why not OmegaConf's structured configs: they know no Literal, no Mapping and no nested tuple,
and hand tuples back as lists (docs/decisions/0002-configs.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from daydreamer.config.errors import ConfigError, nearest

T = TypeVar("T")

_MISSING = dataclasses.MISSING


def field_types(cls: type) -> dict[str, Any]:
    """Annotation of every field that __init__ takes, in order."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def build(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """A `cls` from plain data; errors (ConfigError) speak of it as `where`, a dotted key."""
    known = field_types(cls)
    for key in data:
        if key not in known:
            raise ConfigError(f"unknown key {join(where, key)}. {nearest(key, known)}")
    values = {key: convert(known[key], value, join(where, key)) for key, value in data.items()}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]  # every caller passes a dataclass
        defaults = (field.default, field.default_factory)
        if field.init and defaults == (_MISSING, _MISSING) and field.name not in values:
            key = join(where, field.name)
            raise ConfigError(f"{key} has no value and no default: add {key}=VALUE.")
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:  # from __post_init__, which says what it expected
        raise ConfigError(_place(str(error), known, where)) from error


def convert(annotation: Any, value: Any, key: str) -> Any:
    """`value` as `annotation` wants it, unchanged in meaning; else ConfigError naming `key`."""
    if annotation is Any or dataclasses.is_dataclass(value):  # the latter was built before
        return value
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _convert_union(args, value, key)
    if origin is Literal:
        # YAML reads a bare on or off as a truth value.
        if isinstance(value, bool) and (word := ("off", "on")[value]) in args:
            value = word
        if value not in args:
            raise _refuse(value, annotation, key)
        return value
    if dataclasses.is_dataclass(annotation):
        if not isinstance(value, Mapping):
            raise _refuse(value, annotation, key)
        return build(typing.cast(type, annotation), value, key)
    if annotation is None or annotation is type(None):
        if value is not None:
            raise _refuse(value, annotation, key)
        return None
    if annotation in (bool, int, float, str):
        return _convert_scalar(annotation, value, key)
    container = origin or annotation
    if isinstance(container, type) and issubclass(container, Mapping | Sequence):
        return _convert_container(container, args, value, key)
    raise TypeError(f"{key}: a config field cannot be a {annotation}")


def accepts_text(annotation: Any) -> bool:
    """Whether a word of the command line can be the value as it stands, unparsed."""
    if get_origin(annotation) in (Union, types.UnionType):
        return any(accepts_text(arg) for arg in get_args(annotation))
    if get_origin(annotation) is Literal:
        return all(isinstance(arg, str) for arg in get_args(annotation))
    return annotation is str


def accepts_none(annotation: Any) -> bool:
    """Whether null is a value."""
    return annotation is None or type(None) in get_args(annotation)


def join(where: str, key: str) -> str:
    """Dotted key of `key` below `where`; `where` is empty at the top."""
    return f"{where}.{key}" if where else str(key)


def plain(value: Any) -> Any:
    """Dataclasses and containers as dicts, lists and scalars: what YAML and msgpack can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        return {name: plain(getattr(value, name)) for name in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def flatten(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """{dotted key: scalar or list}. Empty mappings leave no key."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, join(where, key)))
        else:
            flat[join(where, key)] = value
    return flat


def _place(message: str, known: Mapping[str, Any], where: str) -> str:
    """`message` of a class that does not know its place, with its place."""
    if message.startswith(where):
        return message
    names_field = any(message.startswith(name) for name in known)
    return join(where, message) if names_field else f"{where}: {message}"


def _convert_union(args: tuple[Any, ...], value: Any, key: str) -> Any:
    # A dataclass in the union speaks for itself: its own error is nearer to the cause.
    if isinstance(value, Mapping):
        for arg in args:
            if dataclasses.is_dataclass(arg):
                return convert(arg, value, key)
    for arg in args:
        with contextlib.suppress(ConfigError):
            return convert(arg, value, key)
    raise _refuse(value, Union[args], key)  # noqa: UP007  # built at run time


def _convert_scalar(kind: type, value: Any, key: str) -> Any:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isnan(value):
            raise _refuse(value, kind, key)
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 1e5 is read as a float; nothing is lost
    # type() rather than isinstance: True is an int, and is not a number of anything.
    if type(value) is not kind:
        raise _refuse(value, kind, key)
    return value


def _convert_container(container: type, args: tuple[Any, ...], value: Any, key: str) -> Any:
    if issubclass(container, Mapping):
        if not isinstance(value, Mapping):
            raise _refuse(value, container, key)
        item = args[1] if args else Any
        return {name: convert(item, entry, join(key, name)) for name, entry in value.items()}
    if not isinstance(value, list | tuple):
        raise _refuse(value, container, key)
    if container is tuple and args and Ellipsis not in args:
        if len(value) != len(args):
            raise ConfigError(f"{key}={value}: expected {len(args)} values, found {len(value)}.")
        pairs = list(zip(args, value, strict=True))
    else:
        pairs = [(args[0] if args else Any, entry) for entry in value]
    items = [convert(kind, entry, f"{key}[{i}]") for i, (kind, entry) in enumerate(pairs)]
    return tuple(items) if container is tuple else items


def _refuse(value: Any, annotation: Any, key: str) -> ConfigError:
    if get_origin(annotation) is Literal and isinstance(value, str):
        words = [str(arg) for arg in get_args(annotation)]
        hint = nearest(value, words)
        near = f" {hint}" if hint.startswith("Did") else ""
        return ConfigError(f"{key}={value}: expected {' or '.join(words)}.{near}")
    found = "null" if value is None else f"{value!r} ({type(value).__name__})"
    return ConfigError(f"{key}: expected {_spell(annotation)}, found {found}.")


def _spell(annotation: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        type(None): "null",
    }
    if annotation in names:
        return names[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(_spell(arg) for arg in args)
    if origin is Literal:
        return "one of " + ", ".join(str(arg) for arg in args)
    container = origin or annotation
    if dataclasses.is_dataclass(annotation):
        return "keys of its own (" + ", ".join(field_types(typing.cast(type, annotation))) + ")"
    if isinstance(container, type) and issubclass(container, Mapping):
        return "a mapping {key: value}"
    return "a list [value, ...]"
