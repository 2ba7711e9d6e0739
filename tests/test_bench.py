"""`daydreamer bench`: what it prints, in words and as JSON; how fast is nobody's promise."""

from __future__ import annotations

import json

import pytest

from daydreamer import bench


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROUND_S", 0.01)


def test_replay_figures_are_medians_with_their_spread(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["replay", "--json", "task=a1_walk", "size=debug"]
    assert bench.main(words) == 0
    figures = json.loads(capsys.readouterr().out)
    assert [figure["metric"] for figure in figures] == ["rows_added", "rows_sampled"]
    for figure in figures:
        assert figure.keys() == {"workload", "metric", "unit", "median", "min", "max", "n"}
        assert 0 < figure["min"] <= figure["median"] <= figure["max"]
        assert (figure["unit"], figure["n"]) == ("rows/s", bench.ROUNDS)


def test_twin_figures_are_control_steps(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pybullet", reason="twins need PyBullet, whose wheels end at Python 3.11")
    assert bench.main(["twin", "task=a1_walk"]) == 0
    line = capsys.readouterr().out
    assert line.split()[:2] == ["a1_twin", "control_steps"]
    assert "7 rounds" in line
