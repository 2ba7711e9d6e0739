"""Metrics survive what runs do to them: kills, restarts, full disks, non-finite values."""

from __future__ import annotations

import json
import logging
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daydreamer.telemetry.metrics import (
    MetricsError,
    MetricsLog,
    number,
    read_metrics,
    running_totals,
    total,
)


def test_a_line_holds_time_step_metrics_and_tags(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "deep" / "metrics.jsonl", now=lambda: 12.5) as metrics:
        metrics.write(7, {"model/kl_nats": 1.25}, session="s0")
    assert read_metrics(metrics.path) == [
        {"time": 12.5, "step": 7, "model/kl_nats": 1.25, "session": "s0"}
    ]


def test_non_finite_values_are_written_as_null(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "m.jsonl") as metrics:
        metrics.write(1, {"a": math.nan, "b": math.inf, "c": 2})
    (line,) = read_metrics(metrics.path)
    assert (line["a"], line["b"], line["c"]) == (None, None, 2.0)
    assert number(line, "a") is None
    assert number(line, "a", "c") == 2.0


def test_a_metric_cannot_hide_the_step(tmp_path: Path) -> None:
    with (
        MetricsLog(tmp_path / "m.jsonl") as metrics,
        pytest.raises(ValueError, match=r"'step'.*rename"),
    ):
        metrics.write(1, {"step": 3})


@pytest.mark.parametrize("torn", [b'{"time": 1.0, "st', b"\x00\x00\x00", b'{"step": 2'])
def test_a_torn_last_line_is_left_out_then_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"time": 0.0, "step": 1}\n' + torn)
    assert [line["step"] for line in read_metrics(path)] == [1]
    with MetricsLog(path) as metrics:
        metrics.write(3, {})
    assert [line["step"] for line in read_metrics(path)] == [1, 3]


def test_a_last_line_that_only_lacks_its_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"time": 0.0, "step": 1}')
    with MetricsLog(path) as metrics:
        metrics.write(2, {})
    assert [line["step"] for line in read_metrics(path)] == [1, 2]


def test_a_broken_line_in_the_middle_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": \n{"step": 3}\n')
    with pytest.raises(MetricsError, match=r"m\.jsonl, line 2: expected one JSON object"):
        read_metrics(path)


def _write_forever(path: Path) -> None:
    with MetricsLog(path) as metrics:
        for step in range(10_000_000):
            metrics.write(step, {f"metric/{i}": float(step) for i in range(20)})


def test_kill_9_loses_at_most_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for _ in range(2):
        writer = multiprocessing.get_context("spawn").Process(target=_write_forever, args=(path,))
        before = path.stat().st_size if path.exists() else 0
        writer.start()
        end_s = time.monotonic() + 30
        while not path.exists() or path.stat().st_size < before + 20_000:
            assert time.monotonic() < end_s
            time.sleep(0.01)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join(10)
        steps = [line["step"] for line in read_metrics(path)]
        first = len(steps) - 1 - steps[::-1].index(0)
        assert steps[first:] == list(range(len(steps) - first))


def test_a_full_disk_costs_lines_but_neither_the_run_nor_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A file size limit fails a write halfway through a line, as a full disk does.
    path = tmp_path / "m.jsonl"
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with MetricsLog(path) as metrics, caplog.at_level(logging.ERROR):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
            for step in range(5):
                metrics.write(step, {"model/kl_nats": 0.5})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        metrics.write(9, {"model/kl_nats": 0.5})
    assert [line["step"] for line in read_metrics(path)] == [0, 9]
    assert metrics.dropped == 4
    assert [
        record.getMessage() for record in caplog.records if "free some disk space" in record.msg
    ]
    assert len(caplog.records) == 1


def test_counters_add_up_over_sessions(tmp_path: Path) -> None:
    lines = [
        {"actor/late_steps": 1, "session": "a"},
        {"actor/late_steps": 3, "session": "a"},
        {"episode/return": 1.0, "session": "a"},
        {"actor/late_steps": 3, "session": "b"},  # as high as before the restart, yet new ones
        {"actor/late_steps": 4, "session": "b"},
    ]
    assert list(running_totals(lines, "actor/late_steps")) == [1, 3, None, 6, 7]
    assert total(lines, "actor/late_steps") == 7
    assert total(lines, "actor/nothing") == 0


def test_without_a_session_a_falling_counter_starts_a_new_one() -> None:
    lines = [{"n": 5}, {"n": 9}, {"n": 2}, {"n": 4}]
    assert list(running_totals(lines, "n")) == [5, 9, 11, 13]


def test_tensorboard_events_hold_the_same_values(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl", tmp_path) as metrics:
        metrics.write(3, {"model/kl_nats": 1.5, "model/loss": math.nan})
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (events,) = tmp_path.glob("events.out.tfevents.*")
    loader = EventFileLoader(str(events))
    loaded = [event for event in loader.Load() if event.HasField("summary")]
    assert [event.step for event in loaded] == [3]
    values = {v.tag: v.tensor.float_val[0] for v in loaded[0].summary.value}
    assert values["model/kl_nats"] == 1.5
    assert math.isnan(values["model/loss"])


@pytest.mark.parametrize("module", ["metrics", "display", "info", "plot", "video", "evaluate"])
def test_importing_telemetry_loads_nothing_heavy(module: str) -> None:
    code = (
        f"import daydreamer.telemetry.{module}, sys, json\n"
        "heavy = ('torch', 'tensorboard', 'matplotlib', 'cv2', 'rich', 'pybullet')\n"
        "print(json.dumps([m for m in heavy if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == []
