"""`daydreamer bench actor`: what the policy costs a robot's computer. Needs no torch.

imports, first_action     from the process's start, until its modules and its first choice are there
step_p50, step_p99        one choice after another, one thread, through PolicyRunner.act
step_paced_p50, _p99      twenty choices a second, as a robot asks: caches are cold, the core dozes
load, swap                new weights: off the control thread; the first step with them
resident, resident_peak   memory of an actor's process with this policy

Each workload has a process of its own: bench/policy_step.py.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from daydreamer.bench.child import figures_of
from daydreamer.bench.figures import Figure
from daydreamer.bench.workloads import Workload, choose
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.wire.rows import Array
from daydreamer.wire.weights import pack_weights


def bench_actor(words: Sequence[str]) -> Iterator[Figure]:
    """Latency, start-up and memory of each workload's policy, W1 and W2 if none is named."""
    others = [word for word in words if not word.startswith("workload=")]
    for workload in choose(words, ("W1", "W2")):
        with tempfile.TemporaryDirectory() as folder:
            blob = Path(folder) / "policy.safetensors"
            blob.write_bytes(pack_weights(fresh_weights(workload), 0, 0.0, half=True))
            started = f"{time.monotonic():.6f}"  # one clock for all processes of a machine
            arguments = [started, str(blob), f"workload={workload.name}", *others]
            yield from figures_of("policy_step", arguments, threads=1)


def fresh_weights(workload: Workload) -> dict[str, Array]:
    """Random weights of the right sizes: how long a step takes does not depend on their values."""
    rng = np.random.default_rng(0)
    blank = NumpyPolicy(workload.agent, workload.observations, workload.action, None)
    arrays: dict[str, Array] = {}
    for name, shape in blank.shapes.items():
        if len(shape) > 1:
            fan_in = np.prod(shape[1:])
            arrays[name] = rng.standard_normal(shape, np.float32) / np.sqrt(fan_in, dtype="f4")
        else:
            arrays[name] = np.full(shape, name.endswith("weight"), np.float32)
    return arrays
