"""The live display: a table on a terminal, lines elsewhere, silence when nobody reads."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from daydreamer.telemetry.display import DryrunStatus, LiveDisplay, clock, status_line
from daydreamer.telemetry.table import sparkline

TRAINING = DryrunStatus(
    phase="training",
    control_steps=5000,
    total_steps=20000,
    robot_seconds=250.0,
    steps_per_s=61.4,
    recent_return=1234.5,
    reward_per_step=4.94,
    updates=321,
    replay_ratio=15.9,
    policy_version=320,
    policy_age_s=1.25,
    late_steps=3,
    journal_chunks=2,
    losses={"model/kl_nats": 3.2},
)

SHOW = """
import sys
from daydreamer.telemetry.display import DryrunStatus, LiveDisplay
with LiveDisplay() as display:
    display.update(DryrunStatus(message="building the model", total_steps=100))
    for step in range(int(sys.argv[1])):
        display.update(DryrunStatus(phase="training", message=f"now {step}", control_steps=step,
                                    total_steps=100, reward_per_step=float(step),
                                    losses={"kl_nats": 1.5}))
    display.note("all is in runs/a1")
    table = display.is_table
print("survived", table, file=sys.stderr)
"""


def test_a_line_says_everything_in_plain_text() -> None:
    line = status_line(TRAINING)
    for part in (
        "[training]", "steps 5000/20000 (25 %)", "robot 4:10", "61 steps/s", "return 1234.5",
        "reward/step 4.94", "updates 321", "replay ratio 15.9", "policy v320", "age 1.2 s",
        "late 3", "journal 2", "model/kl_nats 3.2",
    ):  # fmt: skip
        assert part in line
    assert line.isprintable()


def test_what_is_unknown_during_start_up_is_left_out() -> None:
    line = status_line(DryrunStatus(message="waiting for the learner", total_steps=20000))
    assert line == "[starting]  steps 0/20000 (0 %)  robot 0:00  waiting for the learner"


def test_lines_come_every_five_seconds_and_at_each_change_of_phase() -> None:
    time_s = 0.0
    stream = io.StringIO()
    display = LiveDisplay(stream, now=lambda: time_s)
    for step in range(120):  # two seconds of prefill, ten of training
        time_s = 0.1 * step
        phase = "prefill" if step < 20 else "training"
        display.update(DryrunStatus(phase=phase, control_steps=step))
    display.close()
    lines = stream.getvalue().splitlines()
    steps = [int(line.split("steps ")[1].split()[0]) for line in lines]
    assert steps == [0, 20, 70, 119]
    display.update(TRAINING)
    assert len(stream.getvalue().splitlines()) == 4


def test_the_end_shows_the_last_line_once() -> None:
    stream = io.StringIO()
    with LiveDisplay(stream) as display:
        display.update(DryrunStatus(phase="training", control_steps=9))
        display.update(DryrunStatus(phase="finishing", control_steps=10))
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        "[training]",
        "[finishing]",
    ]


def test_no_color_asks_for_lines_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as terminal:
        monkeypatch.setenv("NO_COLOR", "1")
        assert not LiveDisplay(terminal).is_table
    os.close(leader)


def _run_on_terminal(steps: int) -> tuple[str, str]:
    """Output on a pseudo terminal, and stderr."""
    leader, follower = pty.openpty()
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI")}
    env |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", "PYTHONUTF8": "1"}
    shown = subprocess.Popen(
        [sys.executable, "-c", SHOW, str(steps)],
        stdout=follower,
        stderr=subprocess.PIPE,
        env=env,
    )
    os.close(follower)
    output = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:  # Linux: the other side is closed
            break
        if not part:
            break
        output += part
    os.close(leader)
    _, errors = shown.communicate(timeout=60)
    assert shown.returncode == 0, errors
    return output.decode(), errors.decode()


def test_a_terminal_gets_a_table_with_bar_figures_and_notes() -> None:
    output, errors = _run_on_terminal(5)
    for part in (
        "building the model",
        "4 / 100 steps",
        "kl_nats",
        "reward/step",
        "▁",
        "all is in runs/a1",
    ):
        assert part in output
    assert output.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"
    assert errors.strip() == "survived True"


def test_a_reader_that_leaves_does_not_end_the_run() -> None:
    shown = subprocess.Popen(
        [sys.executable, "-c", SHOW, "3000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert shown.stdout is not None
    assert shown.stdout.readline().startswith("[starting]")
    shown.stdout.close()
    assert shown.stderr is not None
    errors = shown.stderr.read()
    shown.stderr.close()
    assert shown.wait(60) == 0, errors
    assert errors.strip() == "survived False"


def test_a_terminal_that_hangs_up_does_not_end_the_run(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w", encoding="utf-8") as terminal:
        display = LiveDisplay(terminal)
        display.update(TRAINING)
        os.close(leader)
        display.update(DryrunStatus(phase="finishing"))
        display.note("still here")
        display.close()


def test_a_sparkline_spans_its_range_and_fits_its_width() -> None:
    assert sparkline([1.0, 2.0, 8.0]) == "▁▂█"
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([float(i) for i in range(1000)], width=8) == "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (75.2, "1:15"), (3700, "1:01:40")])
def test_clock_reads_like_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
