"""Reports: figures and pictures of held-out episodes, which change nothing of the training."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from daydreamer.agents.agent import Agent
from daydreamer.learner.ingest import Ingest
from daydreamer.learner.reports import Reports, surplus
from daydreamer.learner.sampler import DirectSampler
from daydreamer.learner.trainer import Trainer
from daydreamer.replay.held_out import HeldOut
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.telemetry.metrics import MetricsLog, read_metrics
from daydreamer.wire.rows import Chunk, Schema


class Learner:
    """Six episodes of 30 rows, two of them held out; trained in turns with reports."""

    def __init__(
        self, agent: Agent, schema: Schema, chunks: list[Chunk], folder: Path, every_s: float = 0
    ) -> None:
        self.time_s = 0.0
        self.agent, self.folder = agent, folder
        replay, limiter = SequenceReplay(schema, 1000), ReplayRatioLimiter(4.0, 0, 15)
        held_out = HeldOut(4)
        ingest = Ingest(replay, limiter, in_turns=False, held_out=held_out)
        for chunk in chunks:
            ingest.store(chunk)
        direct = DirectSampler(replay, ("vector",), batch=3, length=5, seed=1)
        self.trainer = Trainer(agent, direct, limiter, max_bad_updates=3, evidence_dir=folder)
        self.metrics = MetricsLog(folder / "metrics.jsonl")
        self.reports = Reports(
            agent, held_out, self.metrics, folder / "report", every_s=every_s, keep=2,
            now=lambda: self.time_s,
        )  # fmt: skip

    def train(self, updates: int) -> None:
        for _ in range(updates):
            self.trainer.update()
            self.time_s += 1
            self.reports.keep_time()

    def close(self) -> None:
        self.reports.close()
        self.metrics.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until a drawing thread is so far; bounded."""
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def chunks(chunk_factory: Callable[..., Chunk]) -> list[Chunk]:
    chunks = [chunk_factory(sequence, rows=30) for sequence in range(7)]
    for chunk in chunks:
        chunk.columns["dt_s"][1:] = 0.05
    return chunks


def test_reports_change_no_bit_of_the_training(
    agent_factory: Callable[..., Agent], schema: Schema, chunks: list[Chunk], tmp_path: Path
) -> None:
    weights = []
    for name, every_s in (("without", 0.0), ("with", 2.0)):
        learner = Learner(agent_factory(), schema, chunks, tmp_path / name, every_s)
        learner.train(6)
        learner.close()
        state = learner.agent.state_dict()
        weights.append({**state["model"], **{f"b.{k}": x for k, x in state["behavior"].items()}})
        weights[-1]["generator"] = state["generator"]
    lines = read_metrics(tmp_path / "with" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 3, 5]
    assert not read_metrics(tmp_path / "without" / "metrics.jsonl")
    assert weights[0].keys() == weights[1].keys()
    for key, x in weights[0].items():
        assert torch.equal(x, weights[1][key]), key


def test_a_report_has_figures_and_pictures_and_the_newest_is_called_latest(
    agent_factory: Callable[..., Agent], schema: Schema, chunks: list[Chunk], tmp_path: Path
) -> None:
    learner = Learner(agent_factory(), schema, chunks, tmp_path, every_s=100.0)
    for updates in (1, 2, 3):
        learner.train(1)
        learner.time_s += 100
        # Another report would not be drawn meanwhile.
        wait_for(lambda updates=updates: (tmp_path / "report" / str(updates)).exists())
    learner.close()
    line = read_metrics(tmp_path / "metrics.jsonl")[-1]
    assert line["step"] == 3
    assert line["health/windows"] == 2
    for name in ("open_loop/vector_1", "open_loop/vector_15", "open_loop/reward_15", "return_gap"):
        assert line[f"health/{name}"] is not None
    assert "health/open_loop/vector_50" not in line  # episodes of 30 rows
    report = tmp_path / "report"
    assert sorted(path.name for path in report.iterdir()) == ["1", "3", "latest"]  # two are kept
    assert (report / "latest").resolve() == (report / "3").resolve()
    assert (report / "3" / "open_loop.png").stat().st_size > 10_000
    figures = json.loads((report / "3" / "health.json").read_text())
    assert figures["updates"] == 3
    assert figures["return_gap"] == line["health/return_gap"]


def test_the_same_weights_get_the_same_figures(
    agent_factory: Callable[..., Agent], schema: Schema, chunks: list[Chunk], tmp_path: Path
) -> None:
    figures = []
    for name in ("a", "b"):
        learner = Learner(agent_factory(), schema, chunks, tmp_path / name, every_s=3.0)
        learner.train(3)
        learner.close()
        lines = read_metrics(tmp_path / name / "metrics.jsonl")
        figures.append([{k: x for k, x in line.items() if k != "time"} for line in lines])
    assert figures[0] == figures[1]


def test_without_a_held_out_episode_the_figures_are_absent_and_that_is_said_once(
    agent_factory: Callable[..., Agent],
    schema: Schema,
    chunks: list[Chunk],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    learner = Learner(agent_factory(), schema, chunks[:2], tmp_path, every_s=1.0)
    learner.train(4)
    learner.close()
    assert not read_metrics(tmp_path / "metrics.jsonl")
    assert not (tmp_path / "report").exists()
    (said,) = [r.getMessage() for r in caplog.records if "no health/ metrics" in r.getMessage()]
    assert "a session's episode 3 is the first one held out (learner.holdout_every=4)" in said


def test_a_report_that_cannot_be_written_costs_the_pictures_and_nothing_else(
    agent_factory: Callable[..., Agent],
    schema: Schema,
    chunks: list[Chunk],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "report").write_text("a file where the folder should be")
    learner = Learner(agent_factory(), schema, chunks, tmp_path, every_s=1.0)
    learner.train(1)
    wait_for(lambda: "the report of update 1 is not drawn" in caplog.text)
    learner.close()
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


def test_an_examination_that_fails_is_told_and_training_goes_on(
    agent_factory: Callable[..., Agent],
    schema: Schema,
    chunks: list[Chunk],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learner = Learner(agent_factory(), schema, chunks, tmp_path, every_s=2.0)

    def fail(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr("daydreamer.learner.reports.examine", fail)
        learner.train(2)
    assert "no health/ metrics and no report of update 1: OutOfMemoryError" in caplog.text
    learner.train(2)  # the next one is not until it is due
    learner.close()
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [3]


def test_reports_of_updates_that_a_checkpoint_took_back_are_deleted(
    agent_factory: Callable[..., Agent], schema: Schema, chunks: list[Chunk], tmp_path: Path
) -> None:
    report = tmp_path / "report"
    for updates in (500, 600):  # the two that are kept
        (report / str(updates)).mkdir(parents=True)
    (report / "latest").symlink_to("600")
    learner = Learner(agent_factory(), schema, chunks, tmp_path, every_s=100.0)
    learner.train(1)
    wait_for(lambda: not (report / "600").exists())
    learner.close()
    assert sorted(path.name for path in report.iterdir()) == ["1", "latest"]
    assert (report / "latest" / "health.json").exists()


def test_figures_that_are_not_finite_are_null(
    agent_factory: Callable[..., Agent], schema: Schema, chunks: list[Chunk], tmp_path: Path
) -> None:
    agent = agent_factory()
    torch.nn.init.constant_(agent.model.reward.blocks[-1].bias, 200.0)  # e^200: no float32
    learner = Learner(agent, schema, chunks, tmp_path, every_s=100.0)
    learner.train(1)
    wait_for(lambda: (tmp_path / "report" / "latest").exists())
    learner.close()
    text = (tmp_path / "report" / "latest" / "health.json").read_text()
    figures = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert figures["imagined_return"] is None
    assert figures["real_return"] is not None


def test_the_end_of_a_run_drops_the_report_that_waits_to_be_drawn(
    agent_factory: Callable[..., Agent],
    schema: Schema,
    chunks: list[Chunk],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO)
    learner = Learner(agent_factory(), schema, chunks, tmp_path, every_s=1.0)
    drawing, go_on = threading.Event(), threading.Event()
    write = Reports._write

    def slow(reports: Reports, job: Any) -> None:
        drawing.set()
        assert go_on.wait(60)
        write(reports, job)

    monkeypatch.setattr(Reports, "_write", slow)
    learner.train(1)
    assert drawing.wait(60)
    learner.train(1)
    threading.Timer(0.2, go_on.set).start()
    learner.close()
    assert "the report of update 2 is not drawn: the run ends" in caplog.text
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["1", "latest"]


def test_without_reports_there_is_no_thread_for_them(
    agent_factory: Callable[..., Agent], schema: Schema, chunks: list[Chunk], tmp_path: Path
) -> None:
    learner = Learner(agent_factory(), schema, chunks, tmp_path, every_s=0)
    assert not any(thread.name == "report" for thread in threading.enumerate())
    learner.close()


def test_old_reports_are_thinned_out_where_they_are_densest() -> None:
    assert surplus([1, 2, 3], keep=3) == []
    # 7 and 8 are the newer half; of 1 (the first, kept), 2 and 5, 2 leaves the smallest gap.
    assert surplus([1, 2, 5, 7, 8], keep=4) == [2]
    reports: list[int] = []
    for updates in range(100, 10_100, 100):
        reports.append(updates)
        for gone in surplus(reports, keep=8):
            reports.remove(gone)
    assert len(reports) == 8
    assert reports[0] == 100
    assert reports[-4:] == [9700, 9800, 9900, 10_000]
    gaps = [b - a for a, b in pairwise(reports)]
    assert max(gaps) < 6000, reports
