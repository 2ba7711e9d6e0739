"""`daydreamer bench wire`: which figures there are; how large they are is nobody's promise."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from daydreamer.bench import figures, precision, wire
from daydreamer.bench.main import main
from daydreamer.bench.workloads import choose


def test_bfloat16_is_rounded_as_torch_does() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((50, 40)).astype(np.float32)
    ties = np.array([1.00390625, 1.01171875, -1.00390625, 0.0], np.float32)
    for x in (numbers, ties, 1e-30 * numbers):
        rounded = torch.from_numpy(x).bfloat16().float().numpy()
        np.testing.assert_array_equal(precision._bfloat16(x), rounded, strict=True)


def test_fewer_bits_change_actions_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "FRESH_ROWS", 30)
    (workload,) = choose(["workload=W1-small"])
    found = {f.metric: f for f in precision.action_change(precision.of_workload(workload))}
    half, brain = found["float16_action"], found["bfloat16_action"]
    assert 0 < half.median < brain.median < found["redraw_action"].median
    assert half.n == round(30 * (1 - found["float16_redrawn"].median / 100))
    assert found["float16_action_all"].n == 30


@pytest.mark.slow
def test_rows_and_policies_are_measured_between_two_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(figures, "ROUND_S", 0.01)
    monkeypatch.setattr(precision, "FRESH_ROWS", 10)
    for name, value in {"ROUNDS": 1, "STREAMED_CHUNKS": 2, "POLICIES": 3}.items():
        monkeypatch.setattr(wire, name, value)
    assert main(["wire", "--json", "workload=W2-small"]) == 0
    found = {f["metric"]: f for f in json.loads(capsys.readouterr().out)}
    assert found.keys() >= {
        *("rows_encoded", "rows_encoded_bytes", "rows_decoded", "rows_streamed"),
        *("row_plain", "row_on_wire", "row_in_archive", "rows_at_20_hz", "rows_at_2_hz"),
        *("film_smaller", "film_encode", "film_decode", "render_smaller", "noise_smaller"),
        *("weights", "weights_float32", "weights_pack", "weights_unpack", "cut_to_swap"),
        *("float16_action", "bfloat16_action", "redraw_action"),
    }
    assert found["noise_smaller"]["median"] == 1  # it travels plain
    assert found["render_smaller"]["median"] > found["film_smaller"]["median"] > 1
    assert found["weights"]["median"] < 0.51 * found["weights_float32"]["median"]
    assert found["cut_to_swap"]["median"] > 0


def test_a_task_that_is_not_installed_has_no_figures(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    monkeypatch.setattr("sim.envs.config._layout", lambda kind, values: kind(*values).make())
    assert list(wire._task_bytes("atari")) == []
    assert "no figures of task=atari" in caplog.text
    assert "pip install 'daydreamer[atari]'" in caplog.text
