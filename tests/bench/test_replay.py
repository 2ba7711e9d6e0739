"""`daydreamer bench replay`: which figures there are; how large they are is nobody's promise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import pytest

from daydreamer.bench import figures, guard, ingest, replay
from daydreamer.bench.main import main
from daydreamer.bench.workloads import Workload, choose

TINY = [
    "workload=W1-small",
    *("agent.deter=8", "agent.units=8", "agent.stoch=2", "agent.classes=4"),
    *("agent.mlp_layers=1", "agent.mlp_units=8"),
]


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    def few_rows(words: Sequence[str], default: Sequence[str]) -> list[Workload]:
        return [dataclasses.replace(w, replay_rows=10_000) for w in choose(words, default)]

    monkeypatch.setattr(replay, "choose", few_rows)
    monkeypatch.setattr(figures, "ROUND_S", 0.01)


def test_replay_figures_are_medians_with_their_spread(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", "--json", "workload=W1-small", "ingest=0"]) == 0
    found = {figure["metric"]: figure for figure in json.loads(capsys.readouterr().out)}
    assert found.keys() == {
        *("memory", "rows_added", "rows_sampled", "batch_sampled"),
        *("archive_size", "restart", "restart_cpu"),
    }
    for figure in found.values():
        assert figure.keys() == {"workload", "metric", "unit", "median", "min", "max", "n"}
        assert figure["min"] <= figure["median"] <= figure["max"]
    assert (found["rows_sampled"]["unit"], found["rows_sampled"]["n"]) == ("rows/s", figures.ROUNDS)
    rows = 16 * 32
    rate, ms = found["rows_sampled"]["median"], found["batch_sampled"]["median"]
    assert ms == pytest.approx(1000 * rows / rate)


@pytest.mark.slow
def test_ingest_is_measured_through_the_real_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CPU_ROUNDS": 1, "CPU_S": 0.5, "PAIRS": 1, "PAIR_ROUNDS": 1}.items():
        monkeypatch.setattr(ingest, name, value)
    monkeypatch.setattr(guard, "ROUND_S", 0.2)
    monkeypatch.setattr(guard, "OTHERS_LIMIT", 1.0)  # a busy machine is no reason to fail
    (workload,) = choose(TINY)
    found = {figure.metric: figure for figure in ingest.figures(workload)}
    assert found.keys() == {
        *("ingest_cpu", "robot_link_cpu", "ingest_cpu_at_400_hz", "rows_ingested"),
        *("update_alone", "update_alone_discarded"),
        *("update_ingesting", "update_ingesting_discarded", "slower_by_ingest"),
    }
    assert found["rows_ingested"].median > 0
