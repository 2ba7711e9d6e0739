from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daydreamer.telemetry.metrics import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def outcome(run: Path) -> tuple[list[float], str, str]:
    """Every episode's return, the last checkpoint's name, and its weights' hash."""
    lines = read_metrics(run / "actor-0" / "metrics.jsonl")
    returns = [line["episode/return"] for line in lines if "episode/return" in line]
    newest = (run / "learner" / "checkpoints" / "latest").resolve()
    digest = hashlib.sha256((newest / "state.safetensors").read_bytes()).hexdigest()
    return returns, newest.name, digest


def test_the_same_seed_gives_the_same_run_bit_for_bit_even_if_the_learner_is_killed(
    start: Callable[..., Any], until: Callable[..., None], tmp_path: Path
) -> None:
    def words(name: str, seed: int = 5) -> list[str]:
        return [
            *("task=a1_walk", "size=debug", f"run={tmp_path / name}", "mode=lockstep"),
            *(f"seed={seed}", "steps=600", "task.episode_steps=100"),
            "learner.checkpoint_every_s=0.5",
        ]

    assert start("dryrun", *words("one")).wait() == 0
    killed = start("dryrun", *words("killed"))
    checkpoints = tmp_path / "killed" / "learner" / "checkpoints"
    until(lambda: (checkpoints / "latest").exists(), "a checkpoint")
    killed.children()["learner"].kill()
    assert killed.wait() == 0, killed.text
    assert "the learner was killed (SIGKILL); starting it again" in killed.text
    other = start("dryrun", *words("other", seed=6))
    assert other.wait() == 0, other.text

    returns, updates, digest = outcome(tmp_path / "one")
    assert len(returns) == 6
    assert int(updates) > 20
    assert outcome(tmp_path / "killed") == (returns, updates, digest)
    assert outcome(tmp_path / "other")[0] != returns


def test_a_robot_explores_at_first_and_the_run_goes_on_with_the_task(
    start: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [
        *("task=a1_walk", "size=debug", f"run={run}", "mode=lockstep", "steps=200"),
        # A line of metrics holds updates of both kinds.
        *("agent.explore_updates=8", "learner.log_every_s=1000", "task.episode_steps=100"),
    ]
    dryrun = start("dryrun", *words)
    assert dryrun.wait() == 0, dryrun.text
    assert "starting it again" not in dryrun.text
    line = read_metrics(run / "learner" / "metrics.jsonl")[-1]
    assert line["learner/updates"] > 8
    assert line["explore/disagreement"] > 0
    assert line["model/loss"] is not None
