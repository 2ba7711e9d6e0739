"""Who competes: each a command that starts a worker, and what it is to build."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daydreamer.bench.workloads import Workload
from daydreamer.config.errors import ConfigError, nearest

OURS = "daydreamer"
PACKAGE = "daydreamer.bench.peers"

_OUR_SETTINGS = {"ours": ("as shipped", ()), "ours-fp32": ("fp32", ("agent.precision=fp32",))}
_SHEEPRL = {"dv2": ("DreamerV2", "dreamer_v2"), "dv3": ("DreamerV3", "dreamer_v3")}
_BF16 = {"precision": "bf16-mixed"}
_COMPILE = {"compile": True}
# Suffix of the name: (setting, options of its worker); no options are the peer's default.
_SHEEPRL_SETTINGS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "": ("fp32", {}),
    "-bf16": ("bf16", _BF16),
    "-bf16-compile": ("bf16, compiled", {**_BF16, **_COMPILE}),
}
# It has mixed precision for GPUs only.
_TORCHRL_SETTINGS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "": ("fp32", {}),
    "-compile": ("fp32, compiled", _COMPILE),
}


@dataclass(frozen=True)
class Contestant:
    """One implementation with one setting."""

    name: str
    peer: str
    setting: str
    is_default: bool
    command: Sequence[str]
    build: Mapping[str, object]  # the first request, but for its threads

    @property
    def is_ours(self) -> bool:
        """Whether peers are compared with it."""
        return self.peer == OURS


def catalogue(
    workload: Workload, words: Sequence[str], peers_python: Path
) -> dict[str, Contestant]:
    """Every contestant by name. words: `agent.key=value`, for us and, as sizes, for the peers."""
    shared: dict[str, object] = {"do": "build", "workload": workload.name}
    found = []

    def worker(python: str, name: str) -> tuple[str, ...]:
        return python, "-m", f"{PACKAGE}.{name}_worker"

    for name, (setting, own_words) in _OUR_SETTINGS.items():
        build: dict[str, object] = {**shared, "words": [*words, *own_words]}
        is_default = not own_words
        command = worker(sys.executable, "our")
        found.append(Contestant(name, OURS, setting, is_default, command, build))
    shared["sizes"] = sizes(workload)
    command = worker(str(peers_python), "sheeprl")
    for short, (title, algorithm) in _SHEEPRL.items():
        for suffix, (setting, options) in _SHEEPRL_SETTINGS.items():
            name, peer = f"{short}{suffix}", f"sheeprl {title}"
            build = {**shared, **options, "algorithm": algorithm}
            found.append(Contestant(name, peer, setting, not options, command, build))
    command = worker(str(peers_python), "torchrl")
    for suffix, (setting, options) in _TORCHRL_SETTINGS.items():
        name, peer = f"torchrl{suffix}", "torchrl DreamerV3"
        build = {**shared, **options}
        found.append(Contestant(name, peer, setting, not options, command, build))
    return {contestant.name: contestant for contestant in found}


def pick(found: Mapping[str, Contestant], names: Sequence[str]) -> list[Contestant]:
    """The named ones, with ours first. Raises ConfigError for names that nobody has."""
    for name in names:
        if name not in found:
            raise ConfigError(f"contestants: there is no {name!r}. {nearest(name, found)}")
    chosen = [found[name] for name in dict.fromkeys(names)]
    if len({c.is_ours for c in chosen}) < 2:
        raise ConfigError(
            f"contestants={','.join(names)}: name one of {', '.join(_OUR_SETTINGS)} and a peer."
        )
    return sorted(chosen, key=lambda c: not c.is_ours)


# What peers are built with (sizes()), and what is ours alone to choose.
SHARED_KEYS = frozenset(
    ("deter", "units", "stoch", "classes", "mlp_layers", "mlp_units", "cnn_depth", "horizon")
)
OWN_KEYS = frozenset(("precision",))


def check_words(words: Sequence[str]) -> None:
    """Raises ConfigError for an agent.KEY that would give us other work than the peers."""
    keys = {word.partition("=")[0].removeprefix("agent.") for word in words}
    if other := sorted(keys - SHARED_KEYS - OWN_KEYS):
        raise ConfigError(
            f"agent.{other[0]}: peers have no such setting, so the work would not be the same. "
            f"There is: {', '.join(sorted(SHARED_KEYS | OWN_KEYS))}."
        )


def sizes(workload: Workload) -> dict[str, object]:
    """What a peer needs to know to build the same workload, as plain data."""
    shared = {key: getattr(workload.agent, key) for key in SHARED_KEYS}
    vectors = [spec.shape[0] for spec in workload.observations.values() if not spec.is_image]
    images = [list(spec.shape) for spec in workload.observations.values() if spec.is_image]
    return {
        "vector": sum(vectors),
        "image": images[0] if images else None,
        "action": workload.action.size,
        **shared,
        "batch": workload.batch,
        "length": workload.length,
    }
