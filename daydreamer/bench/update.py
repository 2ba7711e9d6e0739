"""The process that `daydreamer bench learner` measures: JSON lines on stdout, progress on stderr.

# start -> imports -> agent, batch -> first update -> warm -> rounds -> matrix rate
# '------ imports -------'
# '-------------- first_update -------------------'
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil

import torch
from torch import Tensor

import daydreamer.learner.session  # noqa: F401  # what a learner imports is part of its memory
from daydreamer import interrupts
from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.precision import uses_bf16
from daydreamer.bench import guard
from daydreamer.bench.figures import Figure, figure
from daydreamer.bench.flops import update_flops
from daydreamer.bench.guard import Guard, Rounds
from daydreamer.bench.learner import Options, options
from daydreamer.bench.machine import matmul_rates, synchronize
from daydreamer.bench.memory import resident_mib
from daydreamer.bench.neighbour import Neighbour
from daydreamer.bench.workloads import Workload, choose
from daydreamer.learner.threads import CALM, LOOK_S, Threads
from daydreamer.process import follow_parent

WARM_UPDATES = 2  # after the first, which fills caches
PAIRS = 3  # of phases without a neighbour and with one
# Until the learner has followed its neighbour: it looks between two updates, which may be long.
SETTLE_UPDATES = CALM + 2
SETTLE_S = SETTLE_UPDATES * LOOK_S


@dataclass
class Measured:
    """A workload's agent, ready to be updated."""

    workload: Workload
    agent: Agent
    batch: Mapping[str, Tensor]

    def update(self) -> None:
        """One full update, to its end on any device."""
        self.agent.update(self.batch)
        synchronize(self.agent.device)


def main(words: list[str]) -> int:
    """words: when this process was started, on the monotonic clock; then as `bench learner`."""
    interrupts.end_at_once()
    follow_parent()
    started_s = float(words[0])
    wanted, rest = options(words[1:])
    (workload,) = choose(rest)
    for found in figures(workload, wanted, started_s):
        sys.stdout.write(json.dumps(asdict(found)) + "\n")
        sys.stdout.flush()
    return 0


def figures(workload: Workload, wanted: Options, started_s: float) -> Iterator[Figure]:
    """Everything about one workload."""
    imports_s, imports_mib = time.monotonic() - started_s, resident_mib()
    name, say = workload.name, _sayer(workload.name)
    device = wanted.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.threads:
        torch.set_num_threads(wanted.threads)
    say(f"first update, on {device}")
    measured = _build(workload, device)
    measured.update()
    first_s = time.monotonic() - started_s
    yield figure(name, "imports", "s", [imports_s])
    yield figure(name, "first_update", "s", [first_s])
    for _ in range(WARM_UPDATES):
        measured.update()
    if wanted.neighbour:
        yield from _beside_a_neighbour(measured, wanted, say)
        return
    found = Guard(measured.update, say).rounds("update", wanted.rounds)
    yield from _times(name, "update", found, say)
    yield figure(name, "threads", "threads", [torch.get_num_threads()])
    if imports_mib is not None:
        yield figure(name, "imports_memory", "MiB", [imports_mib])
        yield figure(name, "peak_memory", "MiB", [resident_mib("VmHWM") or 0.0])
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
        yield figure(name, "peak_gpu_memory", "MiB", [peak])
    yield from _arithmetic(measured, found, wanted.rounds, say)


def _build(workload: Workload, device: str) -> Measured:
    agent = build_agent(workload.agent, workload.observations, workload.action, device=device)
    rows = workload.rows(workload.batch, workload.length)
    batch = {key: torch.from_numpy(array) for key, array in rows.items()}
    if device == "cuda":  # as the learner's sampler hands them over
        batch = {key: x.pin_memory() for key, x in batch.items()}
    return Measured(workload, agent, batch)


def _times(name: str, metric: str, found: Rounds, say: guard.Say) -> Iterator[Figure]:
    if found.is_enough:
        yield figure(name, metric, "s", found.clean)
    else:
        say(
            f"{len(found.clean)} rounds were undisturbed, {guard.ENOUGH} are needed: "
            f"there is no figure for {metric}. Run again when the machine is quiet."
        )
        if found.disturbed:
            yield figure(name, f"{metric}_disturbed", "s", found.disturbed)
    yield figure(name, f"{metric}_discarded", "rounds", [len(found.disturbed)])


def _arithmetic(measured: Measured, found: Rounds, rounds: int, say: guard.Say) -> Iterator[Figure]:
    """Operations of an update, the machine's rate, and the share of it that an update reaches."""
    workload, device = measured.workload, measured.agent.device
    parts = update_flops(
        workload.agent,
        workload.observations,
        workload.action,
        batch=workload.batch,
        length=workload.length,
    )
    flops = sum(part.total for part in parts.values())
    yield figure(workload.name, "arithmetic", "GFLOP", [flops / 1e9])
    is_bf16 = uses_bf16(workload.agent.precision, device)
    kind = "bf16" if is_bf16 else "fp32"
    rates = matmul_rates(device, torch.bfloat16 if is_bf16 else torch.float32, rounds, say)
    if not rates:
        say("no undisturbed rate of matrix products: there is no figure for the share of it")
        return
    yield figure(workload.name, f"matmul_rate_{kind}", "GFLOP/s", [rate / 1e9 for rate in rates])
    if found.is_enough:
        rate = statistics.median(rates)
        shares = [100 * flops / seconds / rate for seconds in found.clean]
        yield figure(workload.name, "share_of_matmul_rate", "%", shares)


def _beside_a_neighbour(measured: Measured, wanted: Options, say: guard.Say) -> Iterator[Figure]:
    """The same update with and without one busy process, in turns."""
    name, neighbour = measured.workload.name, Neighbour()
    policy = Threads(wanted.threads)

    def update() -> None:
        policy.adapt()
        measured.update()

    def rounds(where: str) -> Rounds:
        say(f"{where}: waiting until the threads have settled")
        end_s, updates = time.monotonic() + SETTLE_S, 0
        while time.monotonic() < end_s or updates < SETTLE_UPDATES:
            update()
            updates += 1
        watch = Guard(update, say, own_s=lambda: time.process_time() + neighbour.cpu_s())
        threads[where].append(torch.get_num_threads())
        return watch.rounds(
            f"{where}, {torch.get_num_threads()} threads,", ceil(wanted.rounds / PAIRS)
        )

    found = {"alone": Rounds(), "beside": Rounds()}
    threads: dict[str, list[float]] = {where: [] for where in found}
    slower = []
    for _ in range(PAIRS):
        alone = rounds("alone")
        with neighbour.busy():
            beside = rounds("beside")
        if alone.clean and beside.clean:
            slower.append(beside.median_s / alone.median_s)
        found["alone"] += alone
        found["beside"] += beside
    for where, both in found.items():
        yield from _times(name, f"update_{where}", both, say)
        yield figure(name, f"threads_{where}", "threads", threads[where])
    if slower:
        yield figure(name, "slower_beside", "times", slower)


def _sayer(name: str) -> guard.Say:
    """Progress, for whoever looks at a terminal where nothing happens for a minute."""

    def say(text: str) -> None:
        sys.stderr.write(f"bench learner {name}: {text}\n")
        sys.stderr.flush()

    return say


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
