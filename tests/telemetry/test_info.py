"""`daydreamer info`: counts from a real archive and real metrics, also while a run is live."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from daydreamer.replay.archive import Archive
from daydreamer.telemetry.info import collect, info_main, render
from daydreamer.telemetry.metrics import MetricsLog
from daydreamer.wire.codec import encode_chunk
from daydreamer.wire.journal import Journal
from daydreamer.wire.rows import Chunk, Column, make_schema

SCHEMA = make_schema({"vector": Column("float32", (3,))}, 2, ("upright",))
PUBLIC_KEYS = {
    "control_steps", "rows_stored", "gaps", "duplicates_dropped", "duplicates_stored", "sessions",
    "policy_version", "updates", "replay_ratio", "late_steps", "safety_events", "episode_returns",
    "reward_per_step", "robot_seconds", "steps_driven",
}  # fmt: skip


def make_chunk(
    sequence: int,
    rows: int = 11,
    episode: int | None = None,
    session: str = "s0",
    reward: float = 2.0,
) -> Chunk:
    """A whole episode of rows - 1 control steps at 20 Hz."""
    columns = {name: np.zeros((rows, *c.shape), c.dtype) for name, c in SCHEMA.items()}
    columns["is_first"][0] = True
    columns["is_last"][-1] = True
    columns["reward"][1:] = reward
    columns["time_s"][:] = (sequence * (rows - 1) + np.arange(rows)) / 20
    return Chunk(
        "run", "a1", session, sequence, sequence if episode is None else episode, 0, columns
    )


def store(run: Path, chunks: list[Chunk]) -> None:
    with Archive(run / "learner" / "replay", SCHEMA, run="run") as archive:
        for chunk in chunks:
            archive.append(chunk, encode_chunk(chunk))
        archive.commit()


def write_actor(run: Path, steps: int, session: str = "s0", **values: float) -> None:
    with MetricsLog(run / "actor-a1" / "metrics.jsonl") as metrics:
        counters = {"actor/control_steps": steps, "actor/robot_seconds": steps / 20}
        metrics.write(steps, {**counters, **values}, session=session)


def test_a_run_is_summed_up_under_the_public_names(tmp_path: Path) -> None:
    store(tmp_path, [make_chunk(0), make_chunk(1), make_chunk(1), make_chunk(2, reward=5.0)])
    write_actor(tmp_path, 10, **{"episode/return": 20.0, "actor/late_steps": 1})
    write_actor(
        tmp_path, 30, **{"episode/return": 50.0, "actor/late_steps": 4, "actor/safety_events": 2}
    )
    with MetricsLog(tmp_path / "learner" / "metrics.jsonl") as metrics:
        metrics.write(8, {"learner/updates": 8, "learner/version": 6, "learner/replay_ratio": 15.5})
    info = collect(tmp_path)
    assert info.keys() >= PUBLIC_KEYS
    assert info["rows_stored"] == 33
    assert info["control_steps"] == info["steps_driven"] == 30
    assert info["robot_seconds"] == pytest.approx(1.5)
    assert info["reward_per_step"] == pytest.approx((2 * 20 + 5 * 10) / 30)
    assert info["episode_returns"] == [20, 50]
    assert (info["gaps"], info["duplicates_dropped"], info["duplicates_stored"]) == (0, 1, 0)
    assert (info["updates"], info["policy_version"], info["replay_ratio"]) == (8, 6, 15.5)
    assert (info["late_steps"], info["safety_events"]) == (4, 2)
    assert info["sessions"]["s0"]["rows"] == 33


def test_control_steps_are_those_stored_whatever_the_actors_reported(tmp_path: Path) -> None:
    store(tmp_path, [make_chunk(0), make_chunk(1), make_chunk(0, session="s1")])
    write_actor(tmp_path, 12, session="s0")  # killed before it could report 20
    write_actor(tmp_path, 15, session="s1")  # 5 more steps are in its journal, or lost with it
    info = collect(tmp_path)
    assert info["control_steps"] == 30
    assert info["steps_driven"] == 35
    assert info["robot_seconds"] == pytest.approx(1.75)
    assert info["actors"]["a1"]["steps_driven"] == 27


def test_a_robot_without_a_learner_has_driven_and_stored_nothing(tmp_path: Path) -> None:
    write_actor(tmp_path, 40, **{"actor/late_steps": 2})
    info = collect(tmp_path)
    assert (info["control_steps"], info["steps_driven"], info["rows_stored"]) == (0, 40, 0)
    assert "2 (5.00 %)" in render(info)


def test_a_session_whose_beginning_is_lost_stores_no_fewer_than_no_steps(tmp_path: Path) -> None:
    store(tmp_path, [make_chunk(50, rows=2)])
    info = collect(tmp_path)
    assert (info["control_steps"], info["gaps"]) == (0, 1)


def test_only_the_last_thousand_rewards_and_hundred_returns_count(tmp_path: Path) -> None:
    old = [make_chunk(i, rows=501, reward=1.0) for i in range(2)]
    store(
        tmp_path, [*old, make_chunk(2, rows=501, reward=3.0), make_chunk(3, rows=301, reward=3.0)]
    )
    with MetricsLog(tmp_path / "actor-a1" / "metrics.jsonl") as metrics:
        for index in range(120):
            metrics.write(index, {"episode/return": index}, session="s0")
    info = collect(tmp_path)
    assert info["reward_per_step"] == pytest.approx((200 * 1 + 800 * 3) / 1000)
    assert info["episode_returns"] == list(range(20, 120))


def test_recent_rewards_are_found_across_segments(tmp_path: Path) -> None:
    root = tmp_path / "learner" / "replay"
    with Archive(root, SCHEMA, run="run", segment_bytes=1) as archive:
        for index in range(4):
            chunk = make_chunk(index, reward=float(index))
            archive.append(chunk, encode_chunk(chunk))
        archive.commit()
    assert len(list(root.glob("*.seg"))) == 4
    assert collect(tmp_path)["reward_per_step"] == pytest.approx(1.5)


def test_a_live_run_can_be_looked_at(tmp_path: Path) -> None:
    run = tmp_path
    with (
        Archive(run / "learner" / "replay", SCHEMA, run="run") as archive,
        MetricsLog(run / "actor-a1" / "metrics.jsonl") as metrics,
    ):
        journal = Journal(run / "actor-a1" / "journal", quota_bytes=None)
        for index in range(3):
            chunk = make_chunk(index)
            journal.append(chunk)
            archive.append(chunk, encode_chunk(chunk))
            archive.commit()
            metrics.write(10 * (index + 1), {"actor/control_steps": 10 * (index + 1)}, session="s0")
            info = collect(run)
            assert info["rows_stored"] == 11 * (index + 1)
            assert info["actors"]["a1"]["journal_chunks"] == index + 1


def test_a_run_that_only_just_began_has_nothing_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").touch()
    assert info_main([str(tmp_path), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["rows_stored"] == info["control_steps"] == info["updates"] == 0
    assert info["reward_per_step"] is info["policy_version"] is None
    assert info_main([str(tmp_path)]) == 0


def test_json_and_summary_file_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, [make_chunk(0)])
    write_actor(tmp_path, 10, **{"actor/reward_per_step": float("nan")})
    assert info_main([str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == printed
    assert printed["control_steps"] == 10


def test_the_table_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(tmp_path, [make_chunk(0), make_chunk(1)])
    write_actor(tmp_path, 20, **{"actor/late_steps": 1})
    assert info_main([str(tmp_path)]) == 0
    table = capsys.readouterr().out
    for part in (
        "20 stored, 20 driven",
        "22 in 1 session(s)",
        "1 (5.00 %)",
        "2.00 over the last 1,000",
    ):
        assert part in table


def test_a_folder_that_is_no_run_is_answered_with_the_runs_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_actor(tmp_path / "first", 1)
    assert info_main([str(tmp_path)]) == 1
    assert "is no run" in (message := capsys.readouterr().err)
    assert "Runs in it: first." in message
    assert info_main([str(tmp_path / "nowhere")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert info_main([__file__]) == 1
    assert "is no folder" in capsys.readouterr().err
    assert not (tmp_path / "summary.json").exists()


def test_a_damaged_archive_is_answered_with_the_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, [make_chunk(i) for i in range(3)])
    (segment,) = (tmp_path / "learner" / "replay").glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    assert info_main([str(tmp_path)]) == 1
    assert "--repair" in capsys.readouterr().err


def test_an_actor_that_is_refused_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_actor(tmp_path, 1, **{"actor/refused": 1})
    assert info_main([str(tmp_path)]) == 0
    assert "refused by the learner" in capsys.readouterr().out
    write_actor(tmp_path, 2, **{"actor/refused": 0})
    assert collect(tmp_path)["actors"]["a1"]["refused"] is False


def test_dreams_and_the_newest_report_are_shown(tmp_path: Path) -> None:
    store(tmp_path, [make_chunk(0)])
    with MetricsLog(tmp_path / "learner" / "metrics.jsonl") as metrics:
        metrics.write(8, {"health/open_loop/vector_15": 0.9, "health/return_gap": 7.0})
        figures = {
            "health/open_loop/vector_15": 0.25,
            "health/open_loop/reward_abs_15": 0.125,
            "health/imagined_return": 90.0,
            "health/real_return": 80.0,
            "health/return_gap": 10.0,
        }
        metrics.write(9, figures)
        counts = {"learner/updates": 10, "learner/dreaming": True, "learner/dreamed_updates": 4}
        metrics.write(10, counts)
    info = collect(tmp_path)
    assert (info["dreaming"], info["dreamed_updates"]) == (True, 4)
    assert info["health"] == {key.removeprefix("health/"): x for key, x in figures.items()}
    text = render(info)
    assert "10, 4 of them dreamed without a robot, dreaming now" in text
    assert "vector 0.25 after 15 steps (1: knows nothing)" in text
    assert "90.0 where 80.0 followed" in text


def test_a_learner_that_fell_silent_in_a_dream_does_not_dream_now(tmp_path: Path) -> None:
    store(tmp_path, [make_chunk(0)])
    when_s = time.time() - 3600
    with MetricsLog(tmp_path / "learner" / "metrics.jsonl", now=lambda: when_s) as metrics:
        metrics.write(10, {"learner/dreaming": True, "learner/dreamed_updates": 4})
    info = collect(tmp_path)
    assert (info["dreaming"], info["dreamed_updates"]) == (False, 4)
    assert "dreaming now" not in render(info)


def test_a_run_that_reported_nothing_yet_has_no_health(tmp_path: Path) -> None:
    store(tmp_path, [make_chunk(0)])
    info = collect(tmp_path)
    assert (info["health"], info["dreaming"], info["dreamed_updates"]) == ({}, False, 0)
    assert "prediction error" not in render(info)
    assert "dreamed" not in render(info)
