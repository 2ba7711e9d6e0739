"""Checks of single message fields: each returns the value it was given, or raises WireError."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from daydreamer.wire.headers import WireError, brief, check_count
from daydreamer.wire.names import is_name

MAX_TEXT = 4096  # characters of a reason or a config value
MAX_ITEMS = 4096  # sessions, differences, config keys, figures

Scalar = bool | int | float | str | None


def check_text(value: object, what: str) -> str:
    """A text of bounded length."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise WireError(
            f"{what} is {brief(value)}, expected a text of at most {MAX_TEXT} characters"
        )
    return value


def check_name(value: object, what: str) -> str:
    """An actor or session id."""
    if not is_name(value):
        raise WireError(f"{what} is {brief(value)}, expected 1 to 64 of A-Z a-z 0-9 . _ -")
    return str(value)


def check_name_or_empty(value: object, what: str) -> str:
    """A name, or nothing."""
    return "" if value == "" else check_name(value, what)


def check_flag(value: object, what: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise WireError(f"{what} is {brief(value)}, expected true or false")
    return value


def check_mark(value: object, what: str) -> int:
    """A sequence or version; -1 stands for none yet."""
    return check_count(value, what, low=-1)


def _items(value: object, what: str) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) > MAX_ITEMS:
        raise WireError(f"{what} is {brief(value)}, expected a list of at most {MAX_ITEMS}")
    return list(value)


def _map(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise WireError(f"{what} is {brief(value)}, expected a map of at most {MAX_ITEMS}")
    return {check_text(key, f"a key of {what}"): item for key, item in value.items()}


def check_scalars(value: object, what: str) -> dict[str, Scalar]:
    """A flat map of plain values."""
    checked: dict[str, Scalar] = {}
    for key, item in _map(value, what).items():
        if item is not None and not isinstance(item, bool | int | float | str):
            raise WireError(f"{what}[{key!r}] is {brief(item)}, expected a plain value")
        checked[key] = check_text(item, f"{what}[{key!r}]") if isinstance(item, str) else item
    return checked


def check_figures(value: object, what: str) -> dict[str, float]:
    """A map of numbers; NaN says that nothing was measured yet."""
    for key, item in _map(value, what).items():
        if isinstance(item, bool) or not isinstance(item, int | float):
            raise WireError(f"{what}[{key!r}] is {brief(item)}, expected a number")
    return {key: _float(item) for key, item in _map(value, what).items()}


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_marks(value: object, what: str) -> dict[str, int]:
    """A map from session to sequence."""
    return {
        check_name(key, what): check_mark(item, what) for key, item in _map(value, what).items()
    }


def check_list(
    check: Callable[[object, str], str],
) -> Callable[[object, str], tuple[str, ...]]:
    """A check of a list whose items all pass `check`."""
    return lambda value, what: tuple(check(item, what) for item in _items(value, what))
