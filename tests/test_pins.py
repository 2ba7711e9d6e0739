"""requirements/constraints.txt can be followed by every Python that it is for."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PINS = Path(__file__).resolve().parents[1] / "requirements" / "constraints.txt"


def pins() -> list[Requirement]:
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("python", ["3.10", "3.11"])
def test_a_pin_counts_only_where_its_release_can_be_installed(python: str) -> None:
    for pin in pins():
        if pin.marker is not None and not pin.marker.evaluate({"python_version": python}):
            continue
        try:
            found = metadata.distribution(pin.name)
        except metadata.PackageNotFoundError:  # a robot's SDK
            continue
        if found.version.partition("+")[0] in pin.specifier:
            wants = SpecifierSet(found.metadata["Requires-Python"] or "")
            assert f"{python}.9" in wants, f"{pin} needs Python {wants}: add a marker"


@pytest.mark.parametrize("python", ["3.10", "3.11"])
def test_no_package_has_two_pins_at_once(python: str) -> None:
    environment = {"python_version": python}
    names = [p.name for p in pins() if p.marker is None or p.marker.evaluate(environment)]
    assert len(names) == len(set(names))
