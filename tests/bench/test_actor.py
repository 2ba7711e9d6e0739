"""`daydreamer bench actor`: what it measures and in which process; how fast is nobody's promise."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daydreamer.bench import guard, policy_step
from daydreamer.bench.actor import fresh_weights
from daydreamer.bench.figures import Figure
from daydreamer.bench.main import main
from daydreamer.bench.workloads import choose
from daydreamer.models.policy import build_policy
from daydreamer.wire.weights import pack_weights

SMALL = [
    *("agent.deter=8", "agent.units=8", "agent.stoch=2", "agent.classes=2"),
    *("agent.mlp_layers=1", "agent.mlp_units=8", "agent.cnn_depth=2"),
]
LATENCIES = {"step_p50", "step_p99", "step_paced_p50", "step_paced_p99"}
OTHERS = {"imports", "first_action", "load", "swap", "resident", "resident_peak"}


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short rounds, and others who disturb none of them."""
    monkeypatch.setattr(guard, "ROUND_S", 0.01)
    monkeypatch.setattr(guard, "OTHERS_LIMIT", 1e6)
    monkeypatch.setattr(policy_step, "STEPS", 10)
    monkeypatch.setattr(policy_step, "PACED_STEPS", 3)


def measure(name: str, folder: Path) -> dict[str, Figure]:
    (workload,) = choose([f"workload={name}", *SMALL])
    blob = folder / "blob"
    blob.write_bytes(pack_weights(fresh_weights(workload), 0, 0.0, half=True))
    return {f.metric: f for f in policy_step.figures(workload, blob, time.monotonic())}


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("name", ["W1", "W2"])
def test_steps_start_and_memory_are_measured(name: str, tmp_path: Path) -> None:
    found = measure(name, tmp_path)
    assert found.keys() >= LATENCIES
    assert found["step_p50"].n == policy_step.ROUNDS
    assert 0 < found["step_p50"].median <= found["step_p99"].median
    assert found["first_action"].median > found["imports"].median
    assert (found["load"].unit, found["load"].n) == ("ms", policy_step.LOADS)
    if Path("/proc/self/status").exists():
        assert found["resident_peak"].median >= found["resident"].median > 20


@pytest.mark.usefixtures("brief")
def test_a_disturbed_machine_gets_no_figure_under_the_same_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(guard, "OTHERS_LIMIT", -1.0)  # whatever others do is too much
    found = measure("W1", tmp_path)
    assert found.keys() & LATENCIES == set()
    assert found["step_p99_disturbed"].n == policy_step.ROUNDS * guard.TRIES


def test_the_weights_it_makes_are_those_of_a_policy() -> None:
    (workload,) = choose(["workload=W2", *SMALL])
    policy = build_policy(workload.agent, workload.observations, workload.action)
    policy.load_arrays(fresh_weights(workload))


def test_it_needs_no_torch() -> None:
    code = (
        "import daydreamer.bench.actor, daydreamer.bench.policy_step, sys; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_process_of_its_own_measures_the_workload(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["actor", "--json", "workload=W1", *SMALL]) == 0
    found = json.loads(capsys.readouterr().out)
    metrics = {figure["metric"].removesuffix("_disturbed") for figure in found}
    assert metrics >= LATENCIES | (OTHERS - {"resident", "resident_peak"})
    assert {figure["workload"] for figure in found} == {"W1"}
