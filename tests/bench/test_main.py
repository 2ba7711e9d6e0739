"""`daydreamer bench`: what it prints, in words and as JSON; how fast is nobody's promise."""

from __future__ import annotations

import pytest

from daydreamer.bench import figures
from daydreamer.bench.main import main


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "ROUND_S", 0.01)


def test_twin_figures_are_control_steps(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pybullet", reason="twins need PyBullet, whose wheels end at Python 3.11")
    assert main(["twin", "task=a1_walk"]) == 0
    line = capsys.readouterr().out
    assert line.split()[:2] == ["a1_twin", "control_steps"]
    assert "n=7" in line


def test_an_environment_goes_on_with_new_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    # A pole falls after some twenty steps; a round has many more.
    assert main(["twin", "task=gym", "task.id=CartPole-v1"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["env_CartPole-v1", "control_steps"]
