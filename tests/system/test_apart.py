from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daydreamer.telemetry.metrics import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_an_actor_without_a_learner_drives_on_and_delivers_later(
    start: Callable[..., Any],
    new_run: list[str],
    port: int,
    info: Callable[[], dict[str, Any]],
    tmp_path: Path,
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    alone = start("actor", *new_run, "steps=200", f"learner={address}", "actor.drain_s=0.2")
    assert alone.wait() == 0, alone.text
    assert "no learner answers" in alone.text
    assert "safe in the journal" in alone.text
    assert list((tmp_path / "run" / "actor-0" / "journal").glob("*/*.chunk"))

    learner = start("learner", *new_run, f"bind={address}")
    # 200 of the 260 steps are in the journal: this session drives the other 60.
    actor = start("actor", *new_run, "steps=260", f"learner={address}", "actor.drain_s=30")
    assert actor.wait() == 0, actor.text
    learner.interrupt()
    assert learner.wait() == 130, learner.text
    found = info()
    assert found["gaps"] == 0
    assert found["duplicates_stored"] == 0
    assert len(found["sessions"]) == 2
    assert found["control_steps"] >= 260
    assert found["actors"]["0"]["journal_chunks"] == 0


def test_a_busy_port_is_named_with_a_cure(
    start: Callable[..., Any], new_run: list[str], port: int
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        learner = start("learner", *new_run, f"bind=tcp://127.0.0.1:{port}")
        assert learner.wait() == 1, learner.text
    assert f"port {port} is taken" in learner.text


def test_an_actor_of_another_size_is_refused_with_the_difference(
    start: Callable[..., Any],
    new_run: list[str],
    port: int,
    until: Callable[..., None],
    tmp_path: Path,
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    learner = start("learner", *new_run, f"bind={address}")
    until(lambda: "listening on" in learner.text, "the learner")
    actor = start(
        *("actor", "task=a1_walk", "size=debug", "agent.deter=24", f"run={tmp_path / 'other'}"),
        *("steps=100", f"learner={address}"),
    )
    assert actor.wait() == 1, actor.text
    assert "agent.deter: actor has 24, learner has 16" in actor.text
    learner.interrupt()
    assert learner.wait() == 130


def test_a_learner_restarted_with_another_config_is_seen_while_the_robot_drives_on(
    start: Callable[..., Any],
    new_run: list[str],
    port: int,
    until: Callable[..., None],
    tmp_path: Path,
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    fast = ["wire.liveness_s=1", "wire.heartbeat_s=0.2", "wire.resend_s=0.5"]
    learner = start("learner", *new_run, f"bind={address}", *fast)
    until(lambda: "listening on" in learner.text, "the learner")
    actor = start(
        *("actor", *new_run, "steps=100000", f"learner={address}", "actor.realtime=true"),
        *("actor.drain_s=0.2", *fast),
    )
    path = tmp_path / "run" / "actor-0" / "metrics.jsonl"

    def newest(key: str) -> float:
        lines = read_metrics(path) if path.exists() else []
        return next((line[key] for line in reversed(lines) if key in line), -1)

    until(lambda: newest("actor/refused") == 0 and newest("actor/connected"), "rows to flow")
    learner.process.kill()
    learner.wait()
    other = start(
        *("learner", "task=a1_walk", "size=debug", "agent.deter=24", f"run={tmp_path / 'other'}"),
        *(f"bind={address}", *fast),
    )
    until(lambda: newest("actor/refused") == 1, "the refusal")
    steps, chunks = newest("actor/control_steps"), newest("actor/journal_chunks")
    until(lambda: newest("actor/control_steps") > steps, "the robot to drive on")
    until(lambda: newest("actor/journal_chunks") > chunks, "its rows to be kept")
    assert actor.text.count("refuses this actor") == 1
    assert "agent.deter: actor has 16, learner has 24" in actor.text
    for command in (actor, other):
        command.interrupt()
        assert command.wait() == 130, command.text
