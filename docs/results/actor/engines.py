"""What could step a policy on a robot: every candidate in a process of its own, in turns.

    git worktree add /tmp/plain 08f267f            # the last commit whose actor stepped in torch
    python3.11 -m venv /tmp/onnx && /tmp/onnx/bin/pip install torch==2.13.0 onnx onnxruntime \
        pyzmq msgpack safetensors hydra-core zstandard
    /tmp/onnx/bin/python docs/results/actor/engines.py /tmp/plain W1,W1-small,W2 20 > engines.json

Random weights; each engine draws its own random numbers. A turn is 10 steps to warm the caches and
100 that are timed. Wall and processor time; the share of both cores that others took in that turn.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENGINES = ("eager", "torchscript", "aoti", "onnx", "numpy", "kernel")
ROOT = Path(__file__).resolve().parents[3]
STEPS, WARM = 100, 10
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def parent(plain: str, workloads: str, rounds: int) -> None:
    """Every engine of every workload, in turns; JSON on stdout."""
    found: list[dict[str, Any]] = []
    for workload in workloads.split(","):
        workers = {}
        for engine in ENGINES:
            ours = engine in ("numpy", "kernel")
            environment = {
                **os.environ,
                **dict.fromkeys(
                    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
                ),
                "DAYDREAMER_KERNELS": "on" if engine == "kernel" else "off",
                "PYTHONPATH": str(ROOT) if ours else plain,
            }
            workers[engine] = subprocess.Popen(
                [sys.executable, __file__, engine, workload],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
            ready = json.loads(_answer(workers[engine]))
            found.append({"workload": workload, "engine": engine, **ready, "turns": []})
        for _ in range(rounds):
            for entry in found[-len(ENGINES) :]:
                worker = workers[entry["engine"]]
                busy_s, start_s = _busy_s(), time.perf_counter()
                assert worker.stdin is not None
                worker.stdin.write("go\n")
                worker.stdin.flush()
                turn = json.loads(_answer(worker))
                spent_s = time.perf_counter() - start_s
                others = (_busy_s() - busy_s - turn["used_s"]) / spent_s / (os.cpu_count() or 1)
                entry["turns"].append({**turn, "others": round(max(0.0, others), 2)})
        for worker in workers.values():
            worker.communicate()
    lines = ",\n".join(json.dumps(summary(entry)) for entry in found)
    sys.stdout.write(f"[\n{lines}\n]\n")


def summary(entry: dict[str, Any]) -> dict[str, Any]:
    """The 50th and 99th percentile of all steps; of every turn its median, and what others took."""
    turns = entry.pop("turns")
    for clock in ("wall_ms", "cpu_ms"):
        times = [ms for turn in turns for ms in turn[clock]]
        p99 = statistics.quantiles(times, n=100)[98]
        entry[clock] = {"p50": round(statistics.median(times), 3), "p99": round(p99, 3)}
    medians = [[round(statistics.median(t["wall_ms"]), 3), t["others"]] for t in turns]
    return {**entry, "turns": medians}


def _answer(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    for line in worker.stdout:
        if line.startswith("{"):
            return line
    raise SystemExit("an engine died; what it said is above")


def _busy_s() -> float:
    words = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(words) - words[3] - words[4]) / os.sysconf("SC_CLK_TCK")


def child(engine: str, name: str) -> None:
    """One engine: says when it is ready, then times a turn a line."""
    start_s = time.perf_counter()
    step = numpy_step(name) if engine in ("numpy", "kernel") else torch_step(engine, name)
    step()
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
    ready_s = time.perf_counter() - start_s
    _say({"ready_s": round(ready_s, 2), "resident_mib": round(resident)})
    for _ in sys.stdin:
        used_s = time.process_time()
        for _ in range(WARM):
            step()
        wall, processor = [], []
        for _ in range(STEPS):
            wall_s, processor_s = time.perf_counter(), time.thread_time()
            step()
            processor.append(round(1e3 * (time.thread_time() - processor_s), 4))
            wall.append(round(1e3 * (time.perf_counter() - wall_s), 4))
        _say({"wall_ms": wall, "cpu_ms": processor, "used_s": time.process_time() - used_s})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def numpy_step(name: str) -> Callable[[], object]:
    """PolicyRunner.act as it is; DAYDREAMER_KERNELS decides whether the C kernel is used."""
    from daydreamer.bench.actor import fresh_weights
    from daydreamer.bench.policy_step import Robot
    from daydreamer.bench.workloads import choose
    from daydreamer.wire.weights import pack_weights

    (workload,) = choose([f"workload={name}"])
    robot = Robot(workload)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(pack_weights(fresh_weights(workload), 0, 0.0, half=True))
        robot.load(Path(file.name))
    return robot.step


def torch_step(engine: str, name: str) -> Callable[[], object]:
    """The torch policy of 08f267f: as its PolicyRunner stepped it, or exported."""
    import numpy as np
    import torch

    from daydreamer.actor.policy_runner import PolicyRunner
    from daydreamer.bench.workloads import choose
    from daydreamer.models import codec
    from daydreamer.models.policy import build_policy
    from daydreamer.wire.weights import Weights

    torch.set_num_threads(1)
    (workload,) = choose([f"workload={name}"])
    agent, size = workload.agent, workload.action.size
    policy = build_policy(agent, workload.observations, workload.action)
    rows = workload.rows(64)
    has_image, count = "image" in workload.observations, iter(range(10**9))

    if engine == "eager":

        def make() -> Any:
            return build_policy(agent, workload.observations, workload.action)

        runner = PolicyRunner(make, workload.observations, workload.action, seed=0)
        runner.load(Weights(0, 0.0, "", policy.arrays()))

        def eager() -> object:
            i = next(count)
            obs = {key: rows[key][i % 64] for key in workload.observations}
            return runner.act(obs, rows["action"][i % 64], i % 250 == 0)

        return eager

    # Exporters do not know negative dimensions of movedim.
    codec.ChannelNorm.forward = lambda self, x: self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Pure(torch.nn.Module):
        """The same step as a function of tensors; noise comes in, a reset is a multiplication."""

        def __init__(self) -> None:
            super().__init__()
            self.policy = policy

        def forward(self, vector, image, action, first, h, z, uniform, noise):  # type: ignore
            p, keep = self.policy, 1 - first
            h, z = first * p.initial_h + keep * h, first * p.initial_z + keep * z
            embed = p.encoder.mlp(vector)
            if has_image:
                pixels = image.permute(0, 3, 1, 2).float() / 255
                embed = torch.cat([embed, p.encoder.cnn(pixels)], -1)
            h = p.cell(h, z, p.cell.from_action(action * keep))
            logits = p.posterior(h, p.posterior.from_embed(embed))
            probs = torch.softmax(logits.reshape(1, agent.stoch, agent.classes), -1)
            probs = probs * (1 - agent.unimix) + agent.unimix / agent.classes
            above = (probs.cumsum(-1) <= uniform.unsqueeze(-1)).sum(-1)
            index = above.clamp_max(agent.classes - 1).unsqueeze(-1)
            z = (torch.arange(agent.classes) == index).float().reshape(1, -1)
            out = p.actor.mlp(torch.cat([h, z], -1))
            std = agent.min_std + (agent.max_std - agent.min_std) * torch.sigmoid(out[:, size:])
            return (torch.tanh(out[:, :size]) + std * noise).clamp(-1, 1), h, z

    def f32(*shape: int) -> Any:
        return torch.zeros(1, *shape)

    example = (
        *(f32(rows["vector"].shape[-1]), torch.zeros(1, 64, 64, 3, dtype=torch.uint8)),
        *(f32(size), f32(1), f32(agent.deter), f32(agent.stoch * agent.classes)),
        *(f32(agent.stoch), f32(size)),
    )
    names = ("vector", "image", "action", "first", "h", "z", "uniform", "noise")
    pure, rng = Pure().eval(), np.random.default_rng(0)
    call: Callable[..., Any]
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        if engine == "torchscript":
            call = torch.jit.freeze(torch.jit.trace(pure, example, check_trace=False))
        elif engine == "aoti":
            exported = torch.export.export(pure, example)
            path = torch._inductor.aoti_compile_and_package(
                exported, package_path=f"{folder}/p.pt2"
            )
            call = torch._inductor.aoti_load_package(path)
        else:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            path = f"{folder}/p.onnx"
            torch.onnx.export(
                pure, example, path, dynamo=False, opset_version=17, input_names=list(names)
            )
            session = onnxruntime.InferenceSession(path, options)
            wanted = {node.name for node in session.get_inputs()}
    belief = [x.numpy() for x in example[4:6]]

    def inputs() -> tuple[Any, ...]:
        i = next(count)
        row = {key: values[i % 64][None] for key, values in rows.items()}
        first = np.full((1, 1), i % 250 == 0, np.float32)
        uniform = rng.random((1, agent.stoch), np.float32)
        noise = rng.standard_normal((1, size), np.float32)
        image = row.get("image", example[1].numpy())
        return row["vector"], image, row["action"], first, *belief, uniform, noise

    def exported_step() -> object:
        with torch.inference_mode():
            action, h, z = call(*(torch.from_numpy(x) for x in inputs()))
        belief[:] = h.numpy(), z.numpy()
        return action.numpy()

    def onnx_step() -> object:
        given = zip(names, inputs(), strict=True)
        action, *belief[:] = session.run(None, {key: x for key, x in given if key in wanted})
        return action

    return onnx_step if engine == "onnx" else exported_step


if __name__ == "__main__":
    if sys.argv[1] in ENGINES:
        child(*sys.argv[1:])
    else:
        parent(sys.argv[1], sys.argv[2], int(sys.argv[3]))
