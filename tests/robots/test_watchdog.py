"""The watchdog: a silent loop brings the body to rest."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from robots.watchdog import Watchdog

WAIT_S = 5.0  # for what must happen
QUIET_S = 0.1  # for what must not


class Rig:
    """A watchdog on a clock that the test turns."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.stopped = threading.Semaphore(0)
        self.watchdog = Watchdog(0.02, self.stopped.release, now=lambda: self.now_s)

    def stops(self, wait_s: float) -> bool:
        return self.stopped.acquire(timeout=wait_s)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    rig.watchdog.start()
    yield rig
    rig.watchdog.close()


def test_silence_stops_the_body_once(rig: Rig) -> None:
    rig.watchdog.beat()
    rig.now_s = 1.0
    assert rig.stops(WAIT_S)
    assert not rig.stops(QUIET_S)
    assert rig.watchdog.stalls == 1


def test_loop_that_beats_is_left_alone(rig: Rig) -> None:
    for _ in range(20):
        rig.watchdog.beat()
        rig.now_s += 0.01
        assert not rig.stops(0.005)


def test_time_before_the_first_beat_does_not_count(rig: Rig) -> None:
    rig.now_s = 100.0
    assert not rig.stops(QUIET_S)


def test_beat_after_a_stall_arms_it_again(rig: Rig) -> None:
    for stall in range(1, 3):
        rig.watchdog.beat()
        rig.now_s += 1.0
        assert rig.stops(WAIT_S)
        assert rig.watchdog.stalls == stall


def test_paused_watchdog_waits_for_the_next_beat(rig: Rig) -> None:
    rig.watchdog.beat()
    rig.watchdog.pause()
    rig.now_s = 50.0
    assert not rig.stops(QUIET_S)


def test_stop_that_fails_is_said_and_does_not_end_the_watch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s, called = [0.0], threading.Semaphore(0)

    def broken() -> None:
        called.release()
        raise OSError("no link")

    with Watchdog(0.02, broken, now=lambda: now_s[0]) as watchdog:
        for _ in range(2):
            watchdog.beat()
            now_s[0] += 1.0
            assert called.acquire(timeout=WAIT_S)
    assert "could not bring the body to rest" in caplog.text


def test_close_is_allowed_any_number_of_times_and_ends_the_thread() -> None:
    watchdog = Watchdog(0.02, lambda: None)
    watchdog.close()
    watchdog = Watchdog(0.02, lambda: None)
    watchdog.start()
    watchdog.close()
    watchdog.close()
    assert "watchdog" not in [thread.name for thread in threading.enumerate()]


def test_timeout_must_be_positive() -> None:
    with pytest.raises(ValueError, match="timeout_s"):
        Watchdog(0.0, lambda: None)
