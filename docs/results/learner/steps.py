"""What each step towards a fast update is worth: the update without that step beside the update.

    python docs/results/learner/steps.py workload=W1 out=FILE.json [before=FOLDER] [rounds=7]

Each variant is a process. In every round each does one update in turn while the others wait; who
went first in one round goes last in the next. A step during which others took more than 6 % of the
cores does not count. before: a checkout of 08f267f, before the update was made faster.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SHIPPED = "shipped"
VARIANTS = {
    SHIPPED: {},
    "kernels": {"DAYDREAMER_KERNELS": "off"},
    "gathers": {},
    "chunks": {},
    "casts": {},
    "memory": {},
    "bf16": {},
    "before": {},
}
LIMIT = 0.06  # of the cores, for others


def say(line: str) -> None:
    """Print it now: somebody waits for it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def without(step: str) -> list[str]:
    """Undo one step in this process; returns words for the workload."""
    from torch import cat
    from torch.nn import functional as F

    from daydreamer.agents import agent, behavior
    from daydreamer.models import casting, codec, rssm

    def latent_linear(h: Any, z: Any, index: Any, weight: Any) -> Any:
        weight = casting.cast(weight)
        return F.linear(cat([h.to(weight.dtype), z.to(weight.dtype)], -1), weight)

    def onehot_linear(z: Any, index: Any, weight: Any) -> Any:
        weight = casting.cast(weight)
        return F.linear(z.to(weight.dtype), weight)

    def read_whole(head: Any, latent: Any) -> Any:
        return head(latent).squeeze(-1).float()

    def mean_whole(rows: int, like: Any, part: Any, head: Any) -> Any:
        return part(slice(0, rows)) / rows

    def cast_each_time(weight: Any, way: str, make: Any) -> Any:
        stack = casting._stack
        return make((stack[-1].dtype if stack else None) or weight.dtype)

    if step == "gathers":
        codec.latent_linear = rssm.latent_linear = latent_linear
        rssm.onehot_linear = onehot_linear
    elif step == "chunks":
        behavior.read_frozen, behavior.mean_in_chunks = read_whole, mean_whole
    elif step == "casts":
        casting._once = cast_each_time
    elif step == "memory":
        agent.keep_freed_memory = lambda: None
    return ["agent.precision=fp32"] if step == "bf16" else []


def work(step: str, words: list[str]) -> None:
    """One variant: an update for every line on stdin."""
    import torch

    from daydreamer.agents.agent import build_agent
    from daydreamer.bench.workloads import choose

    torch.set_num_threads(2)
    extra = [] if step == "before" else without(step)
    (workload,) = choose([*words, *extra])
    learner = build_agent(workload.agent, workload.observations, workload.action, seed=0)
    rows = workload.rows(workload.batch, workload.length)
    batch = {key: torch.from_numpy(array) for key, array in rows.items()}
    for _ in range(3):
        learner.update(batch)
    say("{}")
    for _ in sys.stdin:
        start_s, start_cpu_s = time.perf_counter(), time.process_time()
        loss = float(learner.update(batch)["model/loss"])
        wall_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
        peak_kib = next(
            int(line.split()[1])
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM")
        )
        found = {"wall_s": wall_s, "cpu_s": cpu_s, "peak_mib": peak_kib / 1024, "loss": loss}
        say(json.dumps(found))


def busy_s() -> float:
    """Processor seconds of the whole machine so far."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks[i] for i in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


def main(words: list[str]) -> None:
    """Alternate, write the raw data, print the table."""
    from daydreamer.process import thread_environment

    given = dict(word.split("=", 1) for word in words)
    here = str(Path(__file__).resolve().parents[3])
    steps = [step for step in VARIANTS if step != "before" or "before" in given]
    env = {**os.environ, **thread_environment(2)}
    workers = {}
    for step in steps:
        path = given["before"] if step == "before" else here
        workers[step] = subprocess.Popen(
            [sys.executable, __file__, "-", step, f"workload={given['workload']}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=path,
            env={**env, **VARIANTS[step], "PYTHONPATH": path},
        )
        workers[step].stdout.readline()
        say(f"{step} is ready")
    found: list[dict[str, Any]] = []
    for number in range(int(given.get("rounds", 7))):
        turn = number % len(steps)
        for step in [*steps[turn:], *steps[:turn]]:
            for _ in range(4):
                start_s, start_busy_s = time.perf_counter(), busy_s()
                workers[step].stdin.write("\n")
                workers[step].stdin.flush()
                answer = json.loads(workers[step].stdout.readline())
                took_s = time.perf_counter() - start_s
                others = (busy_s() - start_busy_s - answer["cpu_s"]) / took_s / 2
                clean = others <= LIMIT
                found.append({"step": step, "round": number, "others": others, **answer})
                say(f"{number + 1} {step}: {answer['wall_s']:.3f} s, others {others:.0%}")
                if clean:
                    break
                time.sleep(1)
        Path(given["out"]).write_text("".join(json.dumps(line) + "\n" for line in found))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait(30)
    show(found)


def show(found: list[dict[str, Any]]) -> None:
    """The table: medians, and the ratio to the update as it ships, round by round."""
    clean = [line for line in found if line["others"] <= LIMIT]
    shipped = {line["round"]: line["wall_s"] for line in clean if line["step"] == SHIPPED}
    say("| without | s | smallest to largest | processor, s | peak MiB | times the shipped | n |")
    say("|---|---|---|---|---|---|---|")
    for step in dict.fromkeys(line["step"] for line in found):
        of = [line for line in clean if line["step"] == step]
        if not of:
            continue
        wall = sorted(line["wall_s"] for line in of)
        ratios = [
            line["wall_s"] / shipped[line["round"]] for line in of if line["round"] in shipped
        ]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else "-"
        cpu_s = statistics.median(line["cpu_s"] for line in of)
        peak = max(line["peak_mib"] for line in of)
        say(
            f"| {step} | {statistics.median(wall):.3f} | {wall[0]:.3f} to {wall[-1]:.3f} "
            f"| {cpu_s:.2f} | {peak:.0f} | {ratio} | {len(of)} |"
        )


if __name__ == "__main__":
    if sys.argv[1] == "-":
        work(sys.argv[2], sys.argv[3:])
    elif sys.argv[1].startswith("show="):
        show([json.loads(s) for s in Path(sys.argv[1][5:]).read_text().splitlines()])
    else:
        main(sys.argv[1:])
