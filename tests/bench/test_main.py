"""`daydreamer bench`: what it prints, in words and as JSON; how fast is nobody's promise."""

from __future__ import annotations

import json

import pytest

from daydreamer.bench import figures
from daydreamer.bench.main import main


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "ROUND_S", 0.01)


def test_replay_figures_are_medians_with_their_spread(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["replay", "--json", "workload=W1-small"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert [figure["metric"] for figure in found] == ["rows_added", "rows_sampled"]
    for figure in found:
        assert figure.keys() == {"workload", "metric", "unit", "median", "min", "max", "n"}
        assert 0 < figure["min"] <= figure["median"] <= figure["max"]
        assert (figure["unit"], figure["n"]) == ("rows/s", figures.ROUNDS)


def test_twin_figures_are_control_steps(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pybullet", reason="twins need PyBullet, whose wheels end at Python 3.11")
    assert main(["twin", "task=a1_walk"]) == 0
    line = capsys.readouterr().out
    assert line.split()[:2] == ["a1_twin", "control_steps"]
    assert "n=7" in line
