from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from daydreamer.actor.lockstep import TurnError, Turns
from daydreamer.actor.recorder import Recorder
from daydreamer.wire.rows import POLICY, Chunk
from daydreamer.wire.weights import Weights
from robots.base import Arrival


class FakeLink:
    """A learner that grants every turn with the version it is told to."""

    def __init__(self, fake_time: Any) -> None:
        self.time = fake_time
        self.connected, self.grants, self.version = True, True, -1
        self.refused: str | None = None
        self.asked: list[int] = []
        self.weights: list[int] = []

    @property
    def status(self) -> Any:
        return SimpleNamespace(connected=self.connected, refused=self.refused)

    def wait_turn(self, sequence: int, timeout_s: float) -> int | None:
        self.asked.append(sequence)
        self.time.now_s += 0.0 if self.grants else timeout_s
        return self.version if self.grants else None

    def wait_weights(self, version: int, timeout_s: float) -> Weights | None:
        self.weights.append(version)
        # An older blob may lie in the slot: it must not be taken for the one that was named.
        old = len(self.weights) % 2 == 1
        return Weights(version + 1 if old else version, 0.0, "", {})


class Loader:
    version = -1

    def __init__(self, fits: bool = True) -> None:
        self.fits = fits
        self.loaded: list[int] = []

    def load(self, weights: Weights) -> bool:
        self.loaded.append(weights.version)
        return self.fits


def make(
    link: FakeLink, recorder: Recorder, loader: Loader, stop: Callable[[], bool] = lambda: False
) -> Turns:
    return Turns(
        link,
        recorder,
        loader,
        rows=4,
        version=-1,
        lost_after_s=30.0,
        stop=stop,
        beat=lambda: None,
        now=link.time.now,
    )


@pytest.fixture
def recorder(recorder_factory: Callable[..., Recorder], fake_time: Any) -> Recorder:
    chunks: list[Chunk] = []
    recorder = recorder_factory(chunks, 100, fake_time.now, chunk_age_s=float("inf"))
    recorder.begin(Arrival({"vector": np.zeros(2, np.float32)}, 0.0, log={"height": 0.0}), 0.0)
    return recorder


def step(recorder: Recorder, turns: Turns, count: int) -> None:
    for _ in range(count):
        arrival = Arrival({"vector": np.zeros(2, np.float32)}, 1.0, log={"height": 0.0})
        recorder.add(arrival, 1.0, np.zeros(2, np.float32), version=1, who=POLICY)
        turns()


def test_a_turn_ends_after_so_many_control_steps(recorder: Recorder, fake_time: Any) -> None:
    link = FakeLink(fake_time)
    turns = make(link, recorder, Loader())
    step(recorder, turns, 3)
    assert link.asked == []
    step(recorder, turns, 5)
    assert link.asked == [0, 1]


def test_exactly_the_version_named_is_loaded_and_once(recorder: Recorder, fake_time: Any) -> None:
    link, loader = FakeLink(fake_time), Loader()
    turns = make(link, recorder, loader)
    step(recorder, turns, 4)
    assert loader.loaded == []  # the prefill is not over: no version yet
    link.version = 3
    step(recorder, turns, 8)
    assert loader.loaded == [3]


def test_weights_that_do_not_fit_end_the_run(recorder: Recorder, fake_time: Any) -> None:
    link = FakeLink(fake_time)
    link.version = 3
    with pytest.raises(TurnError, match="does not fit"):
        step(recorder, make(link, recorder, Loader(fits=False)), 4)


def test_a_slow_learner_is_waited_for_as_long_as_it_lives(
    recorder: Recorder, fake_time: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    link = FakeLink(fake_time)
    link.grants = False

    def stop() -> bool:
        return bool(fake_time.now_s > 1000)

    step(recorder, make(link, recorder, Loader(), stop), 4)
    assert "waited 30 s for the learner to finish the turn" in caplog.text


def test_a_learner_that_is_gone_ends_the_run_with_advice(
    recorder: Recorder, fake_time: Any
) -> None:
    link = FakeLink(fake_time)
    link.grants = link.connected = False
    with pytest.raises(TurnError, match="start the learner again"):
        step(recorder, make(link, recorder, Loader()), 4)


def test_a_learner_that_refuses_is_not_called_gone(recorder: Recorder, fake_time: Any) -> None:
    link = FakeLink(fake_time)
    link.grants, link.connected, link.refused = False, False, "agent.deter: actor has 8"
    with pytest.raises(TurnError, match=r"the learner is refusing \(agent.deter: actor has 8\)"):
        step(recorder, make(link, recorder, Loader()), 4)


def test_a_computer_that_slept_does_not_blame_the_learner(
    recorder: Recorder, fake_time: Any
) -> None:
    link = FakeLink(fake_time)
    link.grants = link.connected = False
    rounds = 0

    def stop() -> bool:
        nonlocal rounds
        rounds += 1
        if rounds == 3:
            fake_time.now_s += 3600.0  # the lid was closed
        if rounds == 6:
            link.grants = True  # the learner slept as well, and answers again
        return False

    step(recorder, make(link, recorder, Loader(), stop), 4)
    assert rounds == 6


def test_at_the_end_the_learner_gets_its_turn_once_more(recorder: Recorder, fake_time: Any) -> None:
    link = FakeLink(fake_time)
    turns = make(link, recorder, Loader())
    step(recorder, turns, 6)
    recorder.interrupt()
    turns.finish()
    turns.finish()
    assert link.asked == [0, 1]
