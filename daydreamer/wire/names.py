"""Names that travel and become folder names: actor ids and session ids."""

from __future__ import annotations

import re
import secrets
import time

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


def is_name(text: object) -> bool:
    """True for 1 to 64 of A-Z a-z 0-9 . _ - after a letter or digit: safe as a folder name."""
    return isinstance(text, str) and _NAME.match(text) is not None


def new_session(start_s: float | None = None) -> str:
    """A fresh session id: sorts by start time (to the millisecond), unique by 24 random bits.

    start_s: seconds since the epoch; now when None.
    """
    start_ms = round(1000 * (time.time() if start_s is None else start_s))
    return f"{start_ms:013d}-{secrets.token_hex(3)}"
