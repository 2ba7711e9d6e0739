"""A twin waits for its learner, with a bound; without a learner it does not wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from daydreamer.actor.catch_up import FIRST_WORD_S, PATIENCE_S, SLACK_ROWS, CatchUp


@dataclass
class FakeStatus:
    connected: bool = True
    learner_stats: dict[str, float] = field(default_factory=dict)


class FakeLink:
    """A learner whose figure falls by 10 rows with every heartbeat, one a second."""

    def __init__(self, ahead: float, falls: bool = True) -> None:
        self.now_s = 0.0
        self.naps = 0
        self.falls = falls
        self.status = FakeStatus(learner_stats={"rows_ahead": ahead})

    def sleep(self, duration_s: float) -> None:
        self.naps += 1
        self.now_s += duration_s
        if self.falls and self.naps % 100 == 0:
            ahead = self.status.learner_stats["rows_ahead"] - 10
            self.status.learner_stats = {"rows_ahead": ahead}


def make(link: FakeLink, stop: Callable[[], bool] = lambda: False) -> CatchUp:
    return CatchUp(link, stop=stop, now=lambda: link.now_s, sleep=link.sleep)  # type: ignore[arg-type]


def test_twin_runs_ahead_by_the_slack_and_no_further() -> None:
    link = FakeLink(0.0, falls=False)
    pace = make(link)
    for _ in range(SLACK_ROWS):
        pace()
    assert link.naps == 0
    pace()
    assert link.naps > 0


def test_twin_goes_on_when_the_learner_has_caught_up() -> None:
    link = FakeLink(SLACK_ROWS + 35.0)
    make(link)()
    assert link.status.learner_stats["rows_ahead"] == SLACK_ROWS - 5


def test_the_first_word_of_a_learner_is_waited_for_once() -> None:
    link = FakeLink(0.0, falls=False)
    link.status.learner_stats = {}
    link.falls = False
    pace = make(link)
    pace()
    assert link.now_s == pytest.approx(FIRST_WORD_S, abs=0.1)
    naps = link.naps
    pace()
    assert link.naps == naps


def test_prefill_is_collected_without_waiting() -> None:
    link = FakeLink(-500.0, falls=False)
    pace = make(link)
    for _ in range(500):
        pace()
    assert link.naps == 0


def test_a_learner_that_goes_away_is_waited_for_a_little_and_again_when_it_is_back() -> None:
    link = FakeLink(0.0, falls=False)
    pace = make(link)
    pace()
    assert link.now_s == 0.0
    link.status = FakeStatus(connected=False, learner_stats={"rows_ahead": 0.0})
    pace()
    assert link.now_s == pytest.approx(FIRST_WORD_S, abs=0.1)
    pace()
    assert link.now_s == pytest.approx(FIRST_WORD_S, abs=0.1)
    link.status = FakeStatus(connected=True)
    pace()
    assert link.now_s == pytest.approx(2 * FIRST_WORD_S, abs=0.1)


def test_a_learner_that_comes_back_in_time_holds_the_twin_at_its_slack() -> None:
    link = FakeLink(0.0, falls=False)
    link.status = FakeStatus(connected=False)

    def answer(duration_s: float) -> None:
        link.now_s += duration_s
        if link.now_s > 1.0:
            link.status.connected = True
        if link.now_s > 2.0 and not link.status.learner_stats:
            link.status.learner_stats = {"rows_ahead": float(SLACK_ROWS)}

    steps = 0
    pace = CatchUp(link, stop=lambda: link.now_s > 5, now=lambda: link.now_s, sleep=answer)  # type: ignore[arg-type]
    while link.now_s < 5:
        pace()
        steps += 1
    assert steps <= 2


def test_a_learner_without_progress_is_not_waited_for_forever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    link = FakeLink(1000.0, falls=False)
    make(link)()
    assert PATIENCE_S < link.now_s < PATIENCE_S + 1
    assert "made no progress" in caplog.text


def test_stop_ends_the_wait() -> None:
    link = FakeLink(1000.0, falls=False)
    make(link, stop=lambda: link.naps >= 3)()
    assert link.naps == 3
