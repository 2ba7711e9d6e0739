"""When the learner dreams on without a robot, and what it says; the clock is the test's."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daydreamer.learner.dreaming import Dreaming
from daydreamer.learner.ingest import Ingest
from daydreamer.learner.resume import freeze
from daydreamer.learner.sampler import DirectSampler
from daydreamer.learner.schedule import train_freely, train_once
from daydreamer.learner.threads import Threads
from daydreamer.learner.trainer import Trainer
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk


class World:
    """A learner's trainer, a clock, and a robot that comes and goes."""

    def __init__(
        self, agent: Any, replay: SequenceReplay, *, ratio: float = 4.0, share: float = 0.5
    ) -> None:
        self.time_s = 0.0
        self.connected = False
        self.agent = agent
        # An update every 8 rows; 10 are paid for, 5 may be dreamed.
        self.limiter = ReplayRatioLimiter(ratio, 0, 32, dream_share=share)
        self.limiter.rows_collected(80)
        self.dreaming = Dreaming(
            self.limiter, lambda: self.connected, 30.0, now=lambda: self.time_s
        )
        direct = DirectSampler(replay, ("vector",), batch=2, length=4, seed=0)
        self.trainer = Trainer(
            agent, direct, self.limiter, max_bad_updates=3, evidence_dir=Path("nothing is bad")
        )

    def loop(self) -> str:
        """One turn of train_freely()."""
        dreamed = self.limiter.dreamed
        if not train_once(self.trainer, self.dreaming):
            return "waited"
        return "dreamed" if self.limiter.dreamed > dreamed else "paid"


@pytest.fixture
def new_world(
    stub_agent: Any, replay: SequenceReplay, chunk_factory: Callable[..., Chunk]
) -> Callable[..., World]:
    """A World whose memory holds rows enough."""
    replay.add(chunk_factory(0))
    return lambda **options: World(stub_agent, replay, **options)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Lines of the log since the last call."""
    caplog.set_level(logging.INFO)

    def take() -> list[str]:
        lines = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return lines

    return take


def test_dreams_come_after_what_rows_paid_for_and_after_the_wait(
    new_world: Callable[..., World],
    said: Callable[[], list[str]],
) -> None:
    world = new_world()
    assert [world.loop() for _ in range(11)] == ["paid"] * 10 + ["waited"]
    world.time_s = 29.9
    assert world.loop() == "waited"
    assert not said()
    world.time_s = 30.0
    assert [world.loop() for _ in range(7)] == ["dreamed"] * 5 + ["waited"] * 2
    begun, spent = said()
    assert begun == (
        "no robot is connected: dreaming on from stored data, at most 5 updates "
        "(replay ratio up to 6)"
    )
    assert "5 updates dreamed, as many as learner.dream_share=0.5 allows" in spent
    assert not world.dreaming.is_dreaming


def test_nothing_is_dreamed_while_a_robot_is_there_or_paid_updates_wait(
    new_world: Callable[..., World],
) -> None:
    world = new_world()
    world.time_s, world.connected = 100.0, True
    assert world.loop() == "paid"
    world.connected = False
    world.time_s = 200.0
    assert [world.loop() for _ in range(9)] == ["paid"] * 9
    assert world.loop() == "dreamed"


def test_a_robot_that_is_back_ends_the_dream_and_its_rows_pay_in_full(
    new_world: Callable[..., World],
    said: Callable[[], list[str]],
) -> None:
    world = new_world()
    world.time_s, world.agent.updates = 30.0, 10
    assert [world.loop(), world.loop()] == ["dreamed", "dreamed"]
    assert world.dreaming.is_dreaming
    world.connected = True
    assert world.loop() == "waited"
    assert not world.dreaming.is_dreaming
    world.limiter.rows_collected(8)
    assert [world.loop(), world.loop()] == ["paid", "waited"]
    assert said()[-1] == "a robot is connected again: 2 updates were dreamed meanwhile"
    world.connected = False
    world.time_s = 59.0
    assert world.loop() == "waited"  # a wait of its own
    world.time_s = 60.0
    assert world.loop() == "dreamed"
    assert "at most 3 updates" in said()[-1]


def test_without_a_window_that_is_long_enough_no_dream_begins(
    stub_agent: Any,
    replay: SequenceReplay,
    chunk_factory: Callable[..., Chunk],
    said: Callable[[], list[str]],
) -> None:
    world = World(stub_agent, replay)  # whose memory is empty
    world.time_s, world.agent.updates = 30.0, 10
    assert [world.loop() for _ in range(3)] == ["waited"] * 3
    assert (world.dreaming.is_dreaming, said()) == (False, [])
    replay.add(chunk_factory(0))
    assert [world.loop() for _ in range(6)] == ["dreamed"] * 5 + ["waited"]
    assert "at most 5 updates" in said()[0]


@pytest.mark.parametrize("options", [{"share": 0.0}, {"ratio": math.inf}])
def test_without_a_share_or_a_bound_nothing_is_dreamed_or_said(
    options: dict[str, float], new_world: Callable[..., World], said: Callable[[], list[str]]
) -> None:
    world = new_world(**options)
    world.time_s = 1000.0
    world.agent.updates = 10
    assert not world.dreaming.may_dream(10)
    world.connected = True
    assert not world.dreaming.may_dream(10)
    assert not said()


def test_the_free_running_learner_dreams_to_its_bound_and_keeps_the_account(
    stub_agent: Any,
    replay: SequenceReplay,
    chunk_factory: Callable[..., Chunk],
    tmp_path: Path,
) -> None:
    limiter = ReplayRatioLimiter(1.0, 0, 8, dream_share=0.5)
    ingest = Ingest(replay, limiter, in_turns=False)
    for sequence in range(4):
        ingest.store(chunk_factory(sequence))  # 32 rows: 4 updates, and 2 dreamed ones
    direct = DirectSampler(replay, ("vector",), batch=2, length=4, seed=0)
    trainer = Trainer(stub_agent, direct, limiter, max_bad_updates=3, evidence_dir=tmp_path)
    turns = 0

    def stop() -> bool:
        nonlocal turns
        turns += 1
        return turns > 9

    class Housekeeping:
        """Nothing is due."""

        def after_update(self) -> None:
            return

    dreaming = Dreaming(limiter, lambda: False, 0.0)
    threads = Threads(1)
    train_freely(trainer, ingest, Housekeeping(), threads, dreaming, stop)  # type: ignore[arg-type]
    assert (stub_agent.updates, limiter.dreamed) == (6, 2)
    assert freeze(trainer)["limiter"] == {"rows": 32, "dreamed": 2}
