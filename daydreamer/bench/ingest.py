"""What rows that arrive cost a learner which trains: processor time, and slower updates.

    python -m daydreamer.bench.ingest workload=W1

A process of its own, with a learner's environment; `bench replay` starts it. JSON lines on stdout,
progress on stderr. The rows come through all of the real path: a robot's journal in another
process, ZeroMQ, the server's thread, the archive with its fsync, the replay memory.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from daydreamer import interrupts
from daydreamer.agents.agent import build_agent
from daydreamer.bench.figures import Figure, figure
from daydreamer.bench.guard import ENOUGH, Guard, Rounds
from daydreamer.bench.loopback import Loopback, loopback
from daydreamer.bench.workloads import Workload, choose
from daydreamer.learner.sampler import DirectSampler, PrefetchSampler
from daydreamer.process import follow_parent

ROWS_PER_S = 400.0  # 20 robots at 20 Hz, or one twin at twenty times that
PREFILL_CHUNKS = 100  # of 20 rows
CPU_ROUNDS, CPU_S = 5, 3.0
PAIRS, PAIR_ROUNDS = 5, 2  # with rows and without, in turns
WARM_UPDATES = 3
BATCH_WAIT_S = 60.0


def figures(workload: Workload) -> Iterator[Figure]:
    """Processor time first, beside nothing; then updates with and without rows coming in."""
    with loopback(workload, capacity_rows=50_000, aside=True) as ends:
        ends.robot.tell(f"flood {PREFILL_CHUNKS}")
        ends.robot.answer()
        yield from _processor_time(workload.name, ends)
        yield from _updates(workload, ends)


def _processor_time(name: str, ends: Loopback) -> Iterator[Figure]:
    learner, robot = [], []
    for _ in range(CPU_ROUNDS):
        start_s = time.process_time()
        ends.robot.tell(f"feed {ROWS_PER_S}")
        time.sleep(CPU_S)
        ends.robot.tell("stop")
        fed = ends.robot.answer()
        learner.append(1e6 * (time.process_time() - start_s) / fed["rows"])
        robot.append(1e6 * fed["cpu_s"] / fed["rows"])
    yield figure(name, "ingest_cpu", "ms/1000 rows", learner)
    yield figure(name, "robot_link_cpu", "ms/1000 rows", robot)
    shares = [ms / 1e6 * ROWS_PER_S * 100 for ms in learner]
    yield figure(name, "ingest_cpu_at_400_hz", "% of a core", shares)


def _updates(workload: Workload, ends: Loopback) -> Iterator[Figure]:
    agent = build_agent(workload.agent, workload.observations, workload.action)
    direct = DirectSampler(
        ends.replay, tuple(workload.observations), workload.batch, workload.length, seed=0
    )
    sampler = PrefetchSampler(direct)

    def update() -> None:
        batch = sampler.next_batch(BATCH_WAIT_S)
        assert batch is not None
        agent.update(batch)

    found = {"alone": Rounds(), "ingesting": Rounds()}
    slower, rates = [], []
    try:
        for _ in range(WARM_UPDATES):
            update()
        watch = Guard(update, _say, own_s=lambda: time.process_time() + ends.robot.cpu_s())
        for _ in range(PAIRS):
            alone = watch.rounds("alone", PAIR_ROUNDS)
            ends.robot.tell(f"feed {ROWS_PER_S}")
            ingesting = watch.rounds("with rows coming in", PAIR_ROUNDS)
            ends.robot.tell("stop")
            fed = ends.robot.answer()
            rates.append(fed["rows"] / fed["seconds"])
            if alone.clean and ingesting.clean:
                slower.append(100 * (ingesting.median_s / alone.median_s - 1))
            found["alone"] += alone
            found["ingesting"] += ingesting
    finally:
        sampler.close()
    yield figure(workload.name, "rows_ingested", "rows/s", rates)
    for where, both in found.items():
        if both.is_enough:
            yield figure(workload.name, f"update_{where}", "s", both.clean)
        yield figure(workload.name, f"update_{where}_discarded", "rounds", [len(both.disturbed)])
    needed = min(ENOUGH, PAIRS)
    if len(slower) >= needed:
        yield figure(workload.name, "slower_by_ingest", "%", slower)
    else:
        _say(
            f"{len(slower)} pairs of rounds were undisturbed, {needed} are needed: there is no "
            "figure for slower_by_ingest. Run again when the machine is quiet."
        )


def _say(text: str) -> None:
    sys.stderr.write(f"bench replay: {text}\n")
    sys.stderr.flush()


def main(words: Sequence[str]) -> int:
    """Prints the figures of one workload."""
    interrupts.end_at_once()
    interrupts.unwind()  # so that its folder and the robot's process go with it
    follow_parent()
    (workload,) = choose(words)
    try:
        for found in figures(workload):
            sys.stdout.write(json.dumps(asdict(found)) + "\n")
            sys.stdout.flush()
    except KeyboardInterrupt:
        return interrupts.INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
