from __future__ import annotations

import dataclasses
import json
import time

import pytest
import torch

from daydreamer.bench import guard, machine, update
from daydreamer.bench.child import BenchError
from daydreamer.bench.figures import Figure
from daydreamer.bench.learner import Options, bench_learner, options
from daydreamer.bench.main import main
from daydreamer.bench.workloads import choose
from daydreamer.config.errors import ConfigError
from daydreamer.cores import STAT

TINY = [
    *("workload=W1-small", "agent.deter=8", "agent.units=8", "agent.stoch=2", "agent.classes=2"),
    *("agent.mlp_layers=1", "agent.mlp_units=8", "agent.horizon=2", "agent.imagination_starts=8"),
    "agent.precision=fp32",
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short rounds, and others who disturb none of them."""
    monkeypatch.setattr(guard, "ROUND_S", 0.01)
    monkeypatch.setattr(guard, "OTHERS_LIMIT", 1e6)
    monkeypatch.setattr(machine, "CPU_SHAPES", ((64, 32, 16), (16, 16, 16)))
    monkeypatch.setattr(update, "SETTLE_S", 0.0)
    monkeypatch.setattr(update, "SETTLE_UPDATES", 0)


def measure(**given: object) -> dict[str, Figure]:
    (workload,) = choose(TINY)
    wanted = dataclasses.replace(Options(device="cpu", threads=1), **given)
    return {f.metric: f for f in update.figures(workload, wanted, time.monotonic())}


@pytest.mark.usefixtures("quick")
def test_an_update_is_measured_in_seconds_arithmetic_and_memory() -> None:
    found = measure()
    assert found["update"].n == Options.rounds
    assert found["update_discarded"].median == 0
    assert found["first_update"].median > found["imports"].median
    assert found["threads"].median == torch.get_num_threads() == 1
    # The share is what the three others make it.
    speed = found["arithmetic"].median / found["update"].median
    share = 100 * speed / found["matmul_rate_fp32"].median
    assert found["share_of_matmul_rate"].median == pytest.approx(share)
    assert "update_disturbed" not in found
    if STAT.exists():
        assert found["peak_memory"].median >= found["imports_memory"].median > 50


@pytest.mark.usefixtures("quick")
def test_a_disturbed_machine_gets_no_figure_under_the_same_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guard, "OTHERS_LIMIT", -1.0)  # whatever others do is too much
    monkeypatch.setattr(guard, "LULL_S", 0.0)
    found = measure()
    assert {"update", "matmul_rate_fp32", "share_of_matmul_rate"}.isdisjoint(found)
    assert found["update_disturbed"].n == Options.rounds * guard.TRIES
    assert found["update_discarded"].median == Options.rounds * guard.TRIES
    assert "there is no figure for update. Run again" in capsys.readouterr().err


@pytest.mark.skipif(not STAT.exists(), reason="only Linux tells what a process has used")
@pytest.mark.usefixtures("quick")
def test_beside_a_neighbour_pair_by_pair() -> None:
    found = measure(neighbour=1)
    assert found["update_alone"].n == found["update_beside"].n == 9  # 7, in pairs of three
    assert found["slower_beside"].n == update.PAIRS
    assert found["threads_beside"].median == 1


def test_own_words_are_told_from_those_of_the_workload() -> None:
    found = options(["workload=W2", "threads=3", "agent.horizon=5", "neighbour=1"])
    assert found == (Options(threads=3, neighbour=1), ["workload=W2", "agent.horizon=5"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["device=tpu"], "auto, cpu or cuda"),
        (["rounds=0"], "rounds is 1 or more"),
        (["threads=-1"], "threads 0 or how many"),
        (["neighbour=2"], "neighbour 0 or 1"),
        (["thread=2"], "unknown key thread"),
        (["workload=W9"], "there is none"),
    ],
)
def test_words_that_mean_nothing_are_refused_before_anything_starts(
    words: list[str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        next(bench_learner(words))


def test_a_measured_process_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(BenchError, match=r"workload=W1 .* ended with exit code 1"):
        list(bench_learner([]))


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_each_workload_is_measured_in_its_own_process(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["learner", "--json", "rounds=1", "threads=1", *TINY]) == 0
    output = capfd.readouterr()
    found = json.loads(output.out)
    assert {"imports", "first_update", "arithmetic"} <= {figure["metric"] for figure in found}
    assert all(figure["workload"] == "W1-small" for figure in found)
    assert "bench learner W1-small: first update, on cpu" in output.err
