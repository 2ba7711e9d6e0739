"""Learning curves: the numbers in the CSV are right and the picture can be opened."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from daydreamer.telemetry.curves import Curve, View, smooth
from daydreamer.telemetry.metrics import MetricsLog
from daydreamer.telemetry.picture import x_label
from daydreamer.telemetry.plot import load_curves, plot_main


def write_run(run: Path, rewards: list[float], minutes: float = 1.0, actor: str = "a1") -> Path:
    """A run whose actor finished an episode every `minutes` with the given rewards per step."""
    clock = iter(range(1, 10_000))
    with MetricsLog(
        run / f"actor-{actor}" / "metrics.jsonl", now=lambda: float(next(clock))
    ) as metrics:
        for index, reward in enumerate(rewards, start=1):
            seconds = 60 * minutes * index
            metrics.write(10 * index, {"actor/robot_seconds": seconds - 5}, session="s")
            values = {"episode/reward_per_step": reward, "actor/robot_seconds": seconds}
            metrics.write(10 * index, values, session="s")
    return run


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decode(path: Path) -> np.ndarray:
    import cv2

    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_one_run_becomes_a_picture_and_its_numbers(tmp_path: Path) -> None:
    run = write_run(tmp_path / "seed0", [1.0, 3.0, 8.0], minutes=2)
    output = tmp_path / "out" / "a1.png"
    assert plot_main([str(run), "-o", str(output), "--smooth", "4", "--guide", "8.5:standing"]) == 0
    rows = read_csv(output.with_suffix(".csv"))
    assert [(r["label"], r["run"]) for r in rows] == [("seed0", "seed0")] * 3
    assert [float(r["robot_min"]) for r in rows] == [2, 4, 6]
    assert [float(r["reward_per_step"]) for r in rows] == [1, 3, 8]
    # windows of 4 minutes: [1], [1 3], [3 8]
    assert [float(r["smoothed"]) for r in rows] == [1, 2, 5.5]
    height, width, _ = decode(output).shape
    assert width > 1000
    assert height > 500


def test_seeds_become_a_mean_with_its_extremes(tmp_path: Path) -> None:
    for seed, offset in enumerate((0.0, 1.0, 5.0)):
        write_run(tmp_path / "small" / f"seed{seed}", [offset + i for i in range(5)])
    output = tmp_path / "a1.png"
    assert plot_main([str(tmp_path / "small"), "-o", str(output), "--smooth", "0"]) == 0
    mean = [r for r in read_csv(output.with_suffix(".csv")) if r["run"] == "mean of 3"]
    assert {r["label"] for r in mean} == {"small"}
    first, last = mean[0], mean[-1]
    assert (float(first["robot_min"]), float(last["robot_min"])) == (1, 5)
    assert (float(first["low"]), float(first["smoothed"]), float(first["high"])) == (0, 2, 5)
    assert (float(last["low"]), float(last["smoothed"]), float(last["high"])) == (4, 6, 9)


def test_a_mean_stops_where_the_shortest_seed_stops(tmp_path: Path) -> None:
    write_run(tmp_path / "x" / "seed0", [0.0] * 4)
    write_run(tmp_path / "x" / "seed1", [9.0] * 8)
    output = tmp_path / "a1.png"
    assert plot_main([str(tmp_path / "x"), "-o", str(output)]) == 0
    mean = [r for r in read_csv(output.with_suffix(".csv")) if r["run"] == "mean of 2"]
    assert max(float(r["robot_min"]) for r in mean) == 4
    assert {float(r["smoothed"]) for r in mean} == {4.5}


def test_a_baselines_file_is_accepted(tmp_path: Path) -> None:
    lines = [{"robot_seconds": 60.0 * i, "reward_per_step": 5.0 + i} for i in (1, 2)]
    path = tmp_path / "sac.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    curves = load_curves([f"soft actor-critic={path}"])
    (curve,) = curves["soft actor-critic"]
    np.testing.assert_allclose(curve.x, [1, 2])
    np.testing.assert_allclose(curve.y, [6, 7])


def test_robot_time_of_several_actors_adds_up(tmp_path: Path) -> None:
    # episodes end at wall times 2, 4 on both: (60, 60) s, then (120, 120) s
    for actor in ("a", "b"):
        write_run(tmp_path, [1.0, 2.0], actor=actor)
    (curve,) = load_curves([str(tmp_path)])[tmp_path.name]
    assert curve.x[-1] == 4
    assert len(curve.x) == 4


def test_robot_time_goes_on_after_a_restart(tmp_path: Path) -> None:
    for session in ("s0", "s1"):
        with MetricsLog(tmp_path / "actor-a1" / "metrics.jsonl") as metrics:
            values = {"episode/reward_per_step": 1.0, "actor/robot_seconds": 60.0}
            metrics.write(10, values, session=session)
    (curve,) = load_curves([str(tmp_path)])[tmp_path.name]
    np.testing.assert_allclose(curve.x, [1, 2])


@pytest.mark.parametrize(
    ("label_by", "labels"), [("auto", {"seed0"}), ("name", {"seed0"}), ("parent", {"small"})]
)
def test_label_by_chooses_the_group(tmp_path: Path, label_by: str, labels: set[str]) -> None:
    run = write_run(tmp_path / "small" / "seed0", [1.0])
    assert set(load_curves([str(run)], label_by=label_by)) == labels


def test_what_is_only_called_alike_is_not_one_group(tmp_path: Path) -> None:
    for sweep in ("walker", "hopper"):
        for seed in range(2):
            write_run(tmp_path / sweep / "discount=0.9" / f"seed{seed}", [1.0])
    walker, hopper = str(tmp_path / "walker"), str(tmp_path / "hopper")
    curves = load_curves([walker, hopper])
    assert {label: len(group) for label, group in curves.items()} == {
        "walker discount=0.9": 2,
        "hopper discount=0.9": 2,
    }
    assert set(load_curves([walker])) == {"discount=0.9"}
    same = load_curves([f"all={walker}", f"all={hopper}"])  # as it was told
    assert {label: len(group) for label, group in same.items()} == {"all": 4}
    seeds = [f"{walker}/discount=0.9/seed0", f"{hopper}/discount=0.9/seed0"]
    assert set(load_curves(seeds)) == {
        "walker discount=0.9 seed0",
        "hopper discount=0.9 seed0",
    }


def test_a_folder_without_episodes_is_answered_with_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plot_main([str(tmp_path), "-o", str(tmp_path / "a.png")]) == 1
    assert "episode/reward_per_step" in capsys.readouterr().err
    assert plot_main([str(tmp_path / "none"), "-o", str(tmp_path / "a.png")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_a_bad_guide_is_a_bad_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "seed0", [1.0])
    assert plot_main([str(run), "-o", str(tmp_path / "a.png"), "--guide", "high"]) == 2
    assert "8.5:standing" in capsys.readouterr().err


def test_a_picture_of_unknown_kind_is_a_bad_argument(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "seed0", [1.0])
    assert plot_main([str(run), "-o", str(tmp_path / "a.csv")]) == 2
    assert ".png, .svg, .pdf" in capsys.readouterr().err


def test_smoothing_never_looks_ahead() -> None:
    x, y = np.array([1.0, 2.0, 10.0]), np.array([2.0, 4.0, 9.0])
    np.testing.assert_allclose(smooth(x, y, 5.0), [2, 3, 9])


def write_sessions(run: Path, *lines: tuple[str, float, float | None, float | None]) -> Path:
    """(session, control steps, the run's total steps, return) a line; 20 control steps a second."""
    with MetricsLog(run / "actor-0" / "metrics.jsonl") as metrics:
        for session, steps, total, reward in lines:
            values = {"actor/control_steps": steps, "actor/robot_seconds": steps / 20}
            if total is not None:
                values["actor/total_steps"] = total
            if reward is not None:
                values |= {"episode/return": reward, "episode/reward_per_step": reward / 10}
            metrics.write(int(steps), values, session=session)
    return run


def curve_of(run: Path, view: View) -> Curve:
    ((curve,),) = load_curves([str(run)], view).values()
    return curve


def test_control_steps_and_returns_add_up_over_sessions(tmp_path: Path) -> None:
    run = write_sessions(tmp_path, ("a", 100, None, 5), ("a", 200, None, 6), ("b", 50, None, 7))
    curve = curve_of(run, View("steps", "return"))
    np.testing.assert_allclose(curve.x, [100, 200, 250])
    np.testing.assert_allclose(curve.y, [5, 6, 7])


def test_steps_that_a_killed_session_did_not_report_are_in_the_next_ones(tmp_path: Path) -> None:
    # b begins with 130 steps stored, while a reported 100: its first episode ends at 130 + 50.
    lines = (("a", 100, 100, 5), ("b", 10, 140, None), ("b", 50, None, 7))
    run = write_sessions(tmp_path, *lines)
    np.testing.assert_allclose(curve_of(run, View("steps")).x, [100, 180])
    np.testing.assert_allclose(curve_of(run, View("minutes")).x, [100 / 1200, 180 / 1200])


def test_steps_that_a_killed_session_took_with_it_were_driven(tmp_path: Path) -> None:
    run = write_sessions(tmp_path, ("a", 100, 100, 5), ("b", 10, 90, None), ("b", 50, None, 7))
    np.testing.assert_allclose(curve_of(run, View("steps")).x, [100, 150])


def test_a_repeat_in_the_runs_config_makes_environment_steps(tmp_path: Path) -> None:
    run = write_sessions(tmp_path / "run", ("a", 100, None, 5), ("a", 200, None, 6))
    (run / "config.yaml").write_text("task: {name: x, repeat: 4}\n", encoding="utf-8")
    output = tmp_path / "a.png"
    words = [str(run), "-o", str(output), "--x", "steps", "--y", "return"]
    assert plot_main(words) == 0
    rows = read_csv(output.with_suffix(".csv"))
    assert [row["environment_steps"] for row in rows] == ["400", "800"]
    assert [row["return"] for row in rows] == ["5", "6"]
    curves = load_curves([str(run)], View("steps"))
    assert x_label(View("steps"), curves) == "environment steps (4 in a control step)"

    assert plot_main([*words, "--repeat", "2"]) == 0
    rows = read_csv(output.with_suffix(".csv"))
    assert [row["environment_steps"] for row in rows] == ["200", "400"]

    (run / "config.yaml").write_text("task: {name: x}\n", encoding="utf-8")
    assert plot_main(words) == 0
    rows = read_csv(output.with_suffix(".csv"))
    assert [row["control_steps"] for row in rows] == ["100", "200"]


def test_a_config_that_cannot_be_read_asks_for_the_repeat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_sessions(tmp_path, ("a", 100, None, 5))
    (run / "config.yaml").write_text("task: {repeat: many}\n", encoding="utf-8")
    assert plot_main([str(run), "-o", str(tmp_path / "a.png"), "--x", "steps"]) == 1
    assert "--repeat N" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--repeat", "0"], ["--repeat", "2.5"], ["--x", "hours"]])
def test_a_bad_option_is_a_bad_argument(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        plot_main([str(tmp_path), "-o", str(tmp_path / "a.png"), *words])
    assert stop.value.code == 2


def test_a_baselines_steps_and_returns_are_read(tmp_path: Path) -> None:
    lines = [{"step": 250 * i, "return": 9.0 * i, "reward_per_step": 1.0} for i in (1, 2)]
    path = tmp_path / "sac.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    curve = curve_of(path, View("steps", "return"))
    np.testing.assert_allclose(curve.x, [250, 500])
    np.testing.assert_allclose(curve.y, [9, 18])


def test_a_baselines_own_folder_tells_its_repeat(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium", reason="needs gymnasium: pip install 'daydreamer[twin]'")
    from sim.baselines.command import main

    words = ["--task", "gym", "--id", "Pendulum-v1", "--repeat", "4", "--agent", "random"]
    assert main([*words, "--steps", "120", "--out", str(tmp_path / "random")]) == 0
    for path in (tmp_path / "random", tmp_path / "random" / "metrics.jsonl"):
        curve = curve_of(path, View("steps"))
        assert curve.repeat == 4
        np.testing.assert_allclose(curve.x, [200, 400])  # as long as Pendulum lets an episode be
        assert curve_of(path, View("steps", repeat=2)).repeat == 2


def test_what_a_task_logs_is_drawn_as_it_was_at_the_end_of_each_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with MetricsLog(tmp_path / "run" / "actor-0" / "metrics.jsonl") as metrics:
        for index in (1, 2):
            values = {"actor/robot_seconds": 60.0 * index, "episode/return": 1.0}
            metrics.write(index, {**values, "episode/final_score": 30.0 * index}, session="s")
    line = {"robot_seconds": 60.0, "return": 1.0, "final_score": 7.0}
    (tmp_path / "random.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    words = [str(tmp_path / "run"), str(tmp_path / "random.jsonl"), "-o", str(tmp_path / "a.png")]
    assert plot_main([*words, "--y", "score"]) == 0
    rows = read_csv(tmp_path / "a.csv")
    assert [(row["label"], row["score"]) for row in rows] == [
        ("run", "30"),
        ("run", "60"),
        ("random", "7"),
    ]
    capsys.readouterr()
    assert plot_main([*words, "--y", "points"]) == 1
    assert "episode/final_points" in (said := capsys.readouterr().err)
    assert "--y can be reward, return, score." in said


def test_steps_are_smoothed_over_a_25th_unless_told_otherwise(tmp_path: Path) -> None:
    run = write_sessions(tmp_path, *(("a", step, None, step) for step in range(1, 51)))
    # 50 / 25 = 2 steps: each point and the one before it
    np.testing.assert_allclose(curve_of(run, View("steps", "return")).smoothed[:3], [1, 1.5, 2.5])


def test_a_sweeps_labels_become_groups_and_what_has_no_episode_yet_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for label in ("discount=0.9", "discount=0.99"):
        for seed in range(2):
            write_run(tmp_path / "sweep" / label / f"seed{seed}", [1.0, 2.0])
    write_sessions(tmp_path / "sweep" / "discount=0.99" / "seed2", ("a", 10, 10, None))
    curves = load_curves([str(tmp_path / "sweep")])
    assert {label: len(group) for label, group in curves.items()} == {
        "discount=0.9": 2,
        "discount=0.99": 2,
    }
    assert "left out" in caplog.text
    assert set(load_curves([f"ours={tmp_path / 'sweep'}"])) == {
        "ours discount=0.9",
        "ours discount=0.99",
    }


def test_a_sweep_without_any_episode_yet_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sessions(tmp_path / "sweep" / "x" / "seed0", ("a", 10, 10, None))
    assert plot_main([str(tmp_path / "sweep"), "-o", str(tmp_path / "a.png")]) == 1
    assert "Wait until the first episode ends" in capsys.readouterr().err


def test_more_labels_than_colours_and_close_guides_make_a_picture(tmp_path: Path) -> None:
    for label in range(9):
        write_run(tmp_path / "sweep" / f"a_rather_long_label={label}" / "seed0", [1.0, label])
    output = tmp_path / "a.png"
    guides = ["--guide", "5:one", "--guide", "5.01:two", "--guide", "5.02:three"]
    assert plot_main([str(tmp_path / "sweep"), "-o", str(output), *guides]) == 0
    height, width, _ = decode(output).shape
    assert width > height > 500
