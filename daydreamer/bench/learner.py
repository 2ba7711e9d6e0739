"""`daydreamer bench learner`: one full update, each workload in a process of its own.

A fresh process has its own peak of memory, its own start, and a learner's environment.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence

from daydreamer.bench.child import figures_of
from daydreamer.bench.figures import Figure
from daydreamer.bench.workloads import choose
from daydreamer.config.errors import ConfigError
from daydreamer.config.overrides import parse, split
from daydreamer.config.typed import build, field_types


@dataclasses.dataclass(frozen=True)
class Options:
    """What `bench learner` is told beside workload= and agent.*."""

    device: str = "auto"  # auto, cpu or cuda
    rounds: int = 7  # undisturbed ones that are wanted
    threads: int = 0  # of an update; 0: all cores, or with neighbour=1 as the learner chooses
    neighbour: int = 0  # 1: with and without a busy process next door, in turns

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device={self.device}: expected auto, cpu or cuda.")
        if self.rounds < 1 or self.threads < 0 or self.neighbour not in (0, 1):
            raise ConfigError("rounds is 1 or more, threads 0 or how many, neighbour 0 or 1.")


def options(words: Sequence[str]) -> tuple[Options, list[str]]:
    """What the words say of Options, and the other words. Raises ConfigError."""
    known = field_types(Options)
    own = [word for word in words if word.partition("=")[0] in known]
    given = {key: parse(key, text, known) for key, text in split(own).values.items()}
    return build(Options, given, ""), [word for word in words if word not in own]


def bench_learner(words: Sequence[str]) -> Iterator[Figure]:
    """Seconds, memory and arithmetic of an update; start-up; what a busy neighbour costs."""
    wanted, rest = options(words)
    names = [workload.name for workload in choose(rest, ("W1", "W2"))]
    others = [word for word in rest if not word.startswith("workload=")]
    own = [f"{key}={value}" for key, value in dataclasses.asdict(wanted).items()]
    for name in names:
        started = f"{time.monotonic():.6f}"  # one clock for all processes of a machine
        words = [started, f"workload={name}", *others, *own]
        yield from figures_of("update", words, wanted.threads)
