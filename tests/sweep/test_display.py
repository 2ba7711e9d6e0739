"""What a sweep shows while it runs and at its end: figures worked out by hand."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from daydreamer.config import load
from daydreamer.sweep.display import Row, SweepDisplay, _area, footer, line, visible
from daydreamer.sweep.runner import Run
from daydreamer.sweep.summary import Result, last_return, table
from daydreamer.telemetry.metrics import MetricsLog

RUNNING = Row("discount=0.98", 1, "running", 500, 2000, 25.0, 5.5, 130.0, 50.0, 30.0)


def test_a_line_says_everything_in_plain_text() -> None:
    assert line(RUNNING) == (
        "discount=0.98 seed 1  [running]  steps 500/2,000 (25 %)  robot 0:25  reward/step 5.50  "
        "return 130.0  50.0 steps/s  0:30 left"
    )
    assert line(Row("x", 0, total_steps=10)) == "x seed 0  [waiting]  steps 0/10 (0 %)  robot 0:00"


def test_without_a_terminal_a_run_has_at_most_a_line_a_minute() -> None:
    time_s = 0.0
    stream = io.StringIO()
    display = SweepDisplay(stream, now=lambda: time_s)
    for second in range(185):  # two runs; the second begins after 100 s
        time_s = float(second)
        second_state = "running" if second >= 100 else "waiting"
        display.update([Row("a", 0, "running", second, 1000), Row("a", 1, second_state, 0, 1000)])
    display.close()
    lines = stream.getvalue().splitlines()
    assert [text.split("  ")[0] for text in lines] == ["a seed 0"] * 2 + ["a seed 1", "a seed 0"]
    assert "steps 60/" in lines[0]


def test_the_live_area_has_a_line_for_each_run_and_fits_the_terminal() -> None:
    rows = [RUNNING, *(Row(f"label{index}", 0, "waiting", 0, 2000) for index in range(20))]
    console = Console(file=io.StringIO(), width=110, record=True)
    console.print(_area(rows, 5, 110))
    text = console.export_text()
    assert len(text.splitlines()) == 1 + 5 + 1
    for part in ("discount=0.98", "500", "0:25", "5.50", "130.0", "50.0", "0:30"):
        assert part in text.splitlines()[1]
    assert "(16 not shown)" in text


def test_a_narrow_terminal_keeps_the_figures_and_shortens_the_label() -> None:
    row = Row(
        "discount=0.98,horizon=15", 12, "running", 12345, 36000, 4500.0, 12.3, 1.0, 45.6, 3700
    )
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(_area([row], 5, 80))
    shown = console.export_text().splitlines()[1]
    for part in ("discount=0", "12", "running", "12,345", "1:15:00", "12.30", "45.6", "1:01:40"):
        assert part in shown


def test_a_low_terminal_shows_what_runs_before_what_waits() -> None:
    rows = [Row("a", index, state) for index, state in enumerate(("done", "waiting", "running"))]
    assert [row.state for row in visible(rows, 2)] == ["waiting", "running"]
    assert visible(rows, 9) == rows


def test_the_footer_tells_the_time_left_at_the_present_pace() -> None:
    # 1,500 steps are left of the running one and 2,000 of the waiting one: 3,500 / 50 = 70 s
    rows = [RUNNING, Row("a", 0, "waiting", 0, 2000), Row("a", 1, "done", 2000, 2000)]
    assert footer(rows) == "1 of 3 runs done, 1 running, 1 waiting, about 1:10 left"


def test_the_pace_is_that_of_the_last_minute(tmp_path: Path) -> None:
    config = load(["task=a1_walk", "size=debug", "steps=150", f"run={tmp_path / 'x' / 'seed0'}"])
    run = Run("x", 0, [], config)
    run.state = "running"
    shown = {}
    with MetricsLog(tmp_path / "x" / "seed0" / "actor-0" / "metrics.jsonl") as metrics:
        for time_s, steps in ((0.0, 0), (10.0, 100), (100.0, 110)):
            metrics.write(steps, {"actor/total_steps": steps, "actor/control_steps": steps})
            shown[time_s] = run.row(time_s)
    assert shown[0.0].steps_per_s is None
    assert (shown[10.0].steps_per_s, shown[10.0].left_s) == (10.0, 5.0)
    assert shown[100.0].steps_per_s == 10 / 90
    assert run.record()["control_steps"] == run.steps == 110


def test_the_table_has_a_mean_over_seeds_with_its_range(tmp_path: Path) -> None:
    for seed, offset in enumerate((0.0, 3.0)):
        path = tmp_path / "x" / f"seed{seed}" / "actor-0" / "metrics.jsonl"
        with MetricsLog(path) as metrics:
            for episode in range(1, 13):  # the last ten: 3 to 12, mean 7.5
                values = {"episode/return": episode + offset, "actor/robot_seconds": episode}
                metrics.write(episode, values, session="s")
    returns = [last_return(tmp_path / "x" / f"seed{seed}") for seed in range(2)]
    assert returns == [7.5, 10.5]
    assert last_return(tmp_path / "y" / "seed0") is None
    results = [Result("x", seed, "done", 120, 120, returns[seed]) for seed in range(2)]
    results.append(Result("y", 0, "failed", 0, 120, None))
    assert table(results).splitlines() == [
        "run  seed             steps       return, last 10 episodes",
        "x    0     done       120 of 120  7.5",
        "x    1     done       120 of 120  10.5",
        "x    all   mean of 2              9.0  (7.5 to 10.5)",
        "y    0     failed     0 of 120    -",
    ]
