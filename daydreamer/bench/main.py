"""`daydreamer bench WHAT [--json]`: measure, then print a table or a list of objects."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from daydreamer import interrupts
from daydreamer.bench.figures import Figure
from daydreamer.config.errors import ConfigError, nearest

# module:function, imported when asked for: measuring a twin takes no torch.
BENCHES = {
    "actor": "daydreamer.bench.actor:bench_actor",
    "learner": "daydreamer.bench.learner:bench_learner",
    "replay": "daydreamer.bench.replay:bench_replay",
    "twin": "daydreamer.bench.twin:bench_twin",
    "wire": "daydreamer.bench.wire:bench_wire",
}


def main(words: list[str]) -> int:
    """Returns the exit code. Raises ConfigError for an unknown benchmark, workload or key."""
    as_json = "--json" in words
    name, *settings = [word for word in words if word != "--json"] or [""]
    if name not in BENCHES:
        found = f"bench {name}: there is no such benchmark." if name else "bench what?"
        raise ConfigError(f"{found} {nearest(name, BENCHES)}")
    module, _, function = BENCHES[name].partition(":")
    bench: Callable[[Sequence[str]], Iterator[Figure]] = getattr(
        importlib.import_module(module), function
    )
    interrupts.unwind()  # so that temporary folders and processes go with it
    figures = []
    for found_figure in bench(settings):
        figures.append(found_figure)
        if not as_json:
            sys.stdout.write(_line(found_figure) + "\n")
            sys.stdout.flush()
    if as_json:
        sys.stdout.write(json.dumps([asdict(f) for f in figures], indent=2) + "\n")
    return 0


def _line(f: Figure) -> str:
    median, low, high = (_number(x) for x in (f.median, f.min, f.max))
    return f"{f.workload:10} {f.metric:24} {median:>12} {f.unit:10} ({low} to {high}, n={f.n})"


def _number(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.4g}"
