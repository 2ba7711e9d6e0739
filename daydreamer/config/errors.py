"""The one error of configs, and how a misspelt name is answered."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A key, value or run folder that does not fit. Says what was found, expected, and to do."""


def nearest(name: str, known: Iterable[str]) -> str:
    """What to write instead of `name`: the nearest of `known`, else all of them. One sentence."""
    names = sorted(known)
    if not names:
        return "There is nothing to choose from."
    # `horizon` is a misspelt path, not a misspelt word, when agent.horizon exists; after that, a
    # neighbour (agent.horizn) is likelier than a word that only looks alike.
    parent, _, word = name.rpartition(".")
    same_word = [other for other in names if other.rpartition(".")[2] == word]
    beside = {n.rpartition(".")[2]: n for n in names if n.rpartition(".")[0] == parent}
    close = (
        same_word
        or [beside[other] for other in difflib.get_close_matches(word, beside, n=2)]
        or difflib.get_close_matches(name, names, n=3)
    )
    if close:
        return f"Did you mean {_either(close[:3])}?"
    return f"Known: {', '.join(names)}."


def _either(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
