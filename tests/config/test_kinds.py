"""`kind: module:Class` finds a dataclass, and says what is wrong when it does not."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from daydreamer.config.errors import ConfigError
from daydreamer.config.kinds import import_kind


@dataclass
class Clashing:
    """Has a field that the config itself uses."""

    option: str = "x"

    def build(self) -> None:
        """Builds nothing."""


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (None, "expected module:Class"),
        ("robots.a1.config", "expected module:Class"),
        ("robots.a9.config:A9", r"cannot be imported \(No module named 'robots.a9'\)"),
        ("robots.base:Reading", r"expected a dataclass with build\(\)"),
        ("robots.base:Nothing", r"expected a dataclass with build\(\)"),
        (f"{__name__}:Clashing", "rename its field option"),
    ],
)
def test_a_kind_that_cannot_be_used_is_refused(
    kind: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    if __name__ not in sys.modules:
        pytest.fail("this module must be importable by its own name")
    with pytest.raises(ConfigError, match=message):
        import_kind(kind, "task")


def test_a_kind_is_found() -> None:
    assert import_kind("robots.a1.config:A1WalkConfig", "task").__name__ == "A1WalkConfig"
