"""The A1's control rate: what options are checked against, readable without numpy."""

from __future__ import annotations

from typing import Final

CONTROL_HZ: Final = 20.0
