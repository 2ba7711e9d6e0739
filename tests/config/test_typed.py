"""Plain data into dataclasses: what is taken, what is refused, and how that is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from daydreamer.config.errors import ConfigError, nearest
from daydreamer.config.typed import build, convert, flatten, plain


@dataclass
class Inner:
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.gain < 0:
            raise ValueError(f"gain={self.gain}: expected at least 0")


@dataclass
class Outer:
    count: int
    name: str = "a"
    mode: Literal["walk", "stand"] = "walk"
    limit: float | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    rules: Mapping[str, Inner] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, 3, 3),
        (int, 1e5, 100_000),
        (float, 3, 3.0),
        (bool, True, True),
        (str, "x", "x"),
        (float | None, None, None),
        (int | str, "x", "x"),
        (tuple[float, ...], [1, 2], (1.0, 2.0)),
        (tuple[tuple[int, int], ...], [[1, 2]], ((1, 2),)),
        (list[int], (1, 2), [1, 2]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Any, [1, "x"], [1, "x"]),
    ],
)
def test_values_that_lose_nothing_are_taken(annotation: Any, value: Any, expected: Any) -> None:
    result = convert(annotation, value, "key")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, 1.5, "expected a whole number, found 1.5"),
        (int, True, "expected a whole number, found True"),
        (int, "3", "expected a whole number, found '3'"),
        (float, "fast", "expected a number, found 'fast'"),
        (float, float("nan"), "expected a number, found nan"),
        (bool, 1, "expected true or false, found 1"),
        (str, 3, "expected text, found 3"),
        (int, None, "expected a whole number, found null"),
        (float | None, "x", "expected a number or null, found 'x'"),
        (Literal["walk", "stand"], "wlak", "expected walk or stand. Did you mean walk?"),
        (tuple[float, float], [1.0], "expected 2 values, found 1"),
        (tuple[float, ...], 3.0, "expected a list"),
        (list[int], [1, "x"], r"key\[1\]: expected a whole number"),
        (Inner, 3, r"expected keys of its own \(gain\)"),
    ],
)
def test_lossy_or_wrong_values_are_refused(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        convert(annotation, value, "key")


def test_nested_data_becomes_nested_dataclasses() -> None:
    built = build(Outer, {"count": 1, "inner": {"gain": 2}, "rules": {"a": {"gain": 3}}}, "body")
    assert built == Outer(count=1, inner=Inner(2.0), rules={"a": Inner(3.0)})


def test_an_optional_dataclass_is_built_or_left_out() -> None:
    assert build(Outer, {"count": 1, "maybe": {"gain": 2}}, "body").maybe == Inner(2.0)
    assert build(Outer, {"count": 1, "maybe": None}, "body").maybe is None


def test_unknown_key_is_answered_with_the_nearest_at_its_level() -> None:
    with pytest.raises(ConfigError, match=r"unknown key body\.inner\.gian\. Did you mean gain\?"):
        build(Outer, {"count": 1, "inner": {"gian": 2}}, "body")


def test_a_key_without_default_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"body\.count has no value and no default"):
        build(Outer, {}, "body")


def test_a_refusal_of_the_class_itself_says_where_the_key_is() -> None:
    with pytest.raises(ConfigError, match=r"^body\.inner\.gain=-1\.0: expected at least 0"):
        build(Outer, {"count": 1, "inner": {"gain": -1}}, "body")


def test_plain_and_build_are_inverse() -> None:
    outer = Outer(count=1, pair=(2.0, 3.0), rules={"a": Inner(4.0)}, maybe=Inner(5.0))
    assert build(Outer, plain(outer), "body") == outer


def test_flatten_joins_keys_with_dots() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {
        "a.b": 1,
        "a.c.d": [2],
        "e": None,
    }


def test_nearest_prefers_the_same_word_elsewhere() -> None:
    known = ["agent.horizon", "horizontal", "learner.batch"]
    assert nearest("horizon", known) == "Did you mean agent.horizon?"
    assert nearest("learner.horizon", known) == "Did you mean agent.horizon?"


def test_nearest_lists_everything_when_nothing_is_near() -> None:
    assert nearest("zzz", ["walk", "stand"]) == "Known: stand, walk."
