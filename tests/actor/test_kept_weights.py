"""The policy an actor keeps for when its learner is away."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daydreamer.actor.kept_weights import FILE, KeptWeights
from daydreamer.wire.weights import Weights


def make_weights(version: int) -> Weights:
    tensors = {"w": np.full((2, 3), 0.1 * version, np.float16).astype(np.float32)}
    return Weights(version, 5.0, "", tensors)


def test_what_was_kept_is_read_back_exactly_with_its_age(tmp_path: Path) -> None:
    KeptWeights(tmp_path).keep(make_weights(7))
    os.utime(tmp_path / FILE, (time.time() - 100,) * 2)
    found = KeptWeights(tmp_path).read()
    assert found is not None
    weights, age_s = found
    assert (weights.version, weights.cut_time_s) == (7, 5.0)
    assert np.array_equal(weights.tensors["w"], make_weights(7).tensors["w"])
    assert age_s == pytest.approx(100, abs=20)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_it_writes_now_and_then_and_the_newest_at_the_end(tmp_path: Path, fake_time: Any) -> None:
    kept = KeptWeights(tmp_path, every_s=60, now=fake_time.now)

    def version() -> int:
        found = kept.read()
        assert found is not None
        return found[0].version

    versions = []
    for step in range(1, 8):
        kept.keep(make_weights(step))
        versions.append(version())
        fake_time.now_s += 25
    assert versions == [1, 1, 1, 4, 4, 4, 7]
    kept.keep(make_weights(8))
    kept.close()
    assert version() == 8
    before_ns = (tmp_path / FILE).stat().st_mtime_ns
    kept.close()
    assert (tmp_path / FILE).stat().st_mtime_ns == before_ns


def test_their_age_is_since_they_came_and_not_since_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptWeights(tmp_path)
    kept.keep(make_weights(1))
    two_hours_ago_s = time.time() - 7200
    with monkeypatch.context() as then:
        then.setattr(time, "time", lambda: two_hours_ago_s)
        kept.keep(make_weights(2))
    kept.close()
    found = kept.read()
    assert found is not None
    assert found[0].version == 2
    assert found[1] == pytest.approx(7200, abs=20)


def test_a_damaged_file_is_left_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptWeights(tmp_path)
    assert kept.read() is None
    kept.keep(make_weights(1))
    blob = bytearray((tmp_path / FILE).read_bytes())
    blob[-1] ^= 1
    (tmp_path / FILE).write_bytes(blob)
    with caplog.at_level(logging.WARNING):
        assert kept.read() is None
    assert "is left aside" in caplog.text


def test_a_full_disk_costs_a_warning_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = KeptWeights(tmp_path / "gone")
    with caplog.at_level(logging.WARNING):
        kept.keep(make_weights(3))
    assert "policy version 3 cannot be kept" in caplog.text
