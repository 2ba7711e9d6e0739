"""A twin waits for its learner, with a bound; without a learner it does not wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from daydreamer.actor.catch_up import ASK_S, FIRST_WORD_S, PATIENCE_S, SLACK_ROWS, CatchUp


@dataclass
class FakeStatus:
    connected: bool = True
    learner_stats: dict[str, float] = field(default_factory=dict)


class FakeActor:
    """Link and recorder in one, and the learner behind them: `news` is called after each nap."""

    def __init__(self, **figures: float) -> None:
        self.now_s, self.end_s = 0.0, 1e9
        self.naps = self.asked = self.aged = self.rows = 0
        self.status = FakeStatus(learner_stats=figures)
        self.news: Callable[[], None] = lambda: None

    def ask(self) -> None:
        self.asked += 1

    def send_old(self) -> None:
        self.aged += 1

    def sleep(self, duration_s: float) -> None:
        self.naps += 1
        self.now_s += duration_s
        self.news()

    def pace(self, stop: Callable[[], bool] | None = None) -> CatchUp:
        stop = stop or (lambda: self.now_s >= self.end_s)
        return CatchUp(self, self, stop=stop, now=lambda: self.now_s, sleep=self.sleep)  # type: ignore[arg-type]

    def steps(self, pace: CatchUp, until_s: float) -> int:
        """Control steps that it takes without a pause of its own until that time."""
        before, self.end_s = self.rows, until_s
        while self.now_s < until_s:
            self.rows += 1
            pace()
        return self.rows - before


def test_twin_runs_ahead_by_the_slack_and_no_further() -> None:
    actor = FakeActor(rows_ahead=0.0)
    assert actor.steps(actor.pace(), until_s=5.0) == SLACK_ROWS + 1


def test_rows_that_the_learner_has_by_now_are_not_counted_twice() -> None:
    actor = FakeActor(rows_ahead=0.0)
    pace = actor.pace()
    assert actor.steps(pace, until_s=0.1) == 65
    actor.status.learner_stats = {"rows_ahead": 20.0, "rows_stored": 60.0}
    # 65 made: 5 under way and 20 that wait for updates leave room for 39, and one that waits.
    assert actor.steps(pace, until_s=1.0) == 40


def test_an_old_figure_said_again_frees_nothing() -> None:
    actor = FakeActor(rows_ahead=0.0, rows_stored=0.0)

    def repeat() -> None:  # a learner in the middle of a long update
        actor.status.learner_stats = dict(actor.status.learner_stats)

    actor.news = repeat
    assert actor.steps(actor.pace(), until_s=20.0) == SLACK_ROWS + 1


def test_twin_goes_on_when_the_learner_has_caught_up() -> None:
    actor = FakeActor(rows_ahead=SLACK_ROWS + 5.0)

    def fall() -> None:  # by ten rows a second
        actor.status.learner_stats = {"rows_ahead": SLACK_ROWS + 5.0 - 10 * actor.now_s}

    actor.news = fall
    actor.pace()()
    assert actor.now_s == pytest.approx(0.5, abs=0.02)


def test_while_it_waits_the_learner_is_asked_and_old_rows_leave() -> None:
    actor = FakeActor(rows_ahead=1000.0)
    actor.pace(stop=lambda: actor.now_s > 10.5 * ASK_S)()
    assert actor.asked == 10
    assert actor.aged == actor.naps


def test_the_first_word_of_a_learner_is_waited_for_once() -> None:
    actor = FakeActor()
    pace = actor.pace()
    pace()
    assert actor.now_s == pytest.approx(FIRST_WORD_S, abs=0.1)
    naps = actor.naps
    pace()
    assert actor.naps == naps


def test_prefill_is_collected_without_waiting() -> None:
    actor = FakeActor(rows_ahead=-500.0)
    pace = actor.pace()
    for _ in range(500):
        actor.rows += 1
        pace()
    assert actor.naps == 0


def test_a_learner_that_goes_away_is_waited_for_a_little_and_again_when_it_is_back() -> None:
    actor = FakeActor(rows_ahead=0.0)
    pace = actor.pace()
    pace()
    assert actor.now_s == 0.0
    actor.status = FakeStatus(connected=False, learner_stats={"rows_ahead": 0.0})
    pace()
    assert actor.now_s == pytest.approx(FIRST_WORD_S, abs=0.1)
    pace()
    assert actor.now_s == pytest.approx(FIRST_WORD_S, abs=0.1)
    actor.status = FakeStatus(connected=True)
    pace()
    assert actor.now_s == pytest.approx(2 * FIRST_WORD_S, abs=0.1)


def test_a_learner_that_comes_back_in_time_holds_the_twin_at_its_slack() -> None:
    actor = FakeActor()
    actor.status.connected = False

    def answer() -> None:
        if actor.now_s > 1.0:
            actor.status.connected = True
        if actor.now_s > 2.0:
            actor.status.learner_stats = {"rows_ahead": float(SLACK_ROWS)}

    actor.news = answer
    assert actor.steps(actor.pace(), until_s=5.0) == 1


def test_a_learner_without_progress_is_not_waited_for_forever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    actor = FakeActor(rows_ahead=1000.0)
    pace = actor.pace()
    pace()
    assert PATIENCE_S < actor.now_s < PATIENCE_S + 1
    assert "1000 rows behind and made no progress" in caplog.text
    waited_s = actor.now_s
    assert actor.steps(pace, until_s=waited_s + 1) == SLACK_ROWS + 1  # and then it waits again


def test_stop_ends_the_wait() -> None:
    actor = FakeActor(rows_ahead=1000.0)
    actor.pace(stop=lambda: actor.naps >= 3)()
    assert actor.naps == 3
