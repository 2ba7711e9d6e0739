"""Part of a benchmark in a process of its own, with a learner's or an actor's environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from daydreamer.bench.figures import Figure
from daydreamer.process import PARENT, thread_environment

END_S = 30.0


class BenchError(RuntimeError):
    """The process that was measured did not get to its end."""


def figures_of(module: str, words: Sequence[str], threads: int = 0) -> Iterator[Figure]:
    """What `python -m daydreamer.bench.MODULE WORDS` prints, as it comes. Raises BenchError.

    threads: as many as its libraries may use; 0: no bound.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", f"daydreamer.bench.{module}", *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **thread_environment(threads), PARENT: str(os.getpid())},
    )
    assert child.stdout is not None
    try:
        with child.stdout:
            for line in child.stdout:
                yield Figure(**json.loads(line))
        code = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()  # it cleans up behind itself
            child.wait(END_S)
    if code != 0:
        raise BenchError(
            f"bench {module} {' '.join(words)} ended with exit code {code}; what it said is above."
        )
