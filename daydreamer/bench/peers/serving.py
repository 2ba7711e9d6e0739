"""A contestant's side: build once, then one update or some policy steps per request.

One JSON object a line. Runs under our Python and under the peers', so it imports neither torch nor
anything heavy of ours.

    orchestrator                         contestant
    {"do": "build", ...}         ->      builds
                                 <-      {"versions": {...}, "cpu_s": ..., "peak_mib": ...}
    {"do": "update"}             ->      one full update
                                 <-      {"wall_s": ..., "cpu_s": ..., "peak_mib": ...}
    {"do": "act", "steps": 5000} ->      so many policy steps, batch 1
                                 <-      {"p50_ms": ..., "p99_ms": ..., "cpu_s": ..., ...}
    (end of file)                ->      ends
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from daydreamer import process

STATUS = Path("/proc/self/status")

Build = Callable[[Mapping[str, Any]], "Trainee"]


class Trainee(Protocol):
    """An agent with its batch, its optimizers and one observation, ready to be told."""

    versions: Mapping[str, str]  # of the packages that make the difference

    def update(self) -> None:
        """World model, critic and actor, once, on the batch."""

    def act(self) -> None:
        """One policy step: arrays of one observation in, one action as an array out."""


def serve(build: Build) -> None:
    """Answer requests until the orchestrator closes the pipe, or dies."""
    process.follow_parent()
    # Libraries print: the pipe is kept for answers, and what is printed goes where errors go.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # A blocking read: a contestant that waits costs the one that works nothing.
    trainee = build(json.loads(sys.stdin.readline()))
    _answer(answers, {"versions": dict(trainee.versions)})
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "update":
            start_s = time.perf_counter()
            trainee.update()
            _answer(answers, {"wall_s": time.perf_counter() - start_s})
        else:
            _answer(answers, _latency(trainee, int(request["steps"])))


def _latency(trainee: Trainee, steps: int) -> dict[str, float]:
    took_s = []
    for _ in range(steps):
        start_s = time.perf_counter()
        trainee.act()
        took_s.append(time.perf_counter() - start_s)
    took_s.sort()
    p50_s, p99_s = took_s[steps // 2], took_s[min(steps - 1, steps * 99 // 100)]
    return {"wall_s": sum(took_s), "p50_ms": 1e3 * p50_s, "p99_ms": 1e3 * p99_s}


def _answer(answers: Any, found: Mapping[str, object]) -> None:
    own = {"cpu_s": time.process_time(), "peak_mib": _peak_mib()}
    answers.write(json.dumps({**found, **own}) + "\n")
    answers.flush()


def _peak_mib() -> float | None:
    """Peak resident memory. Not getrusage's, which counts that of the process before exec too."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) / 1024 if found else None
