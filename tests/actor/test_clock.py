from __future__ import annotations

from typing import Any

import pytest

from daydreamer.actor.clock import ControlClock


def make_clock(fake_time: Any, realtime: bool = True) -> ControlClock:
    clock = ControlClock(0.05, realtime=realtime, now=fake_time.now, sleep=fake_time.sleep)
    clock.start()
    return clock


def test_steps_are_due_at_multiples_of_the_period_whatever_the_work_takes(fake_time: Any) -> None:
    clock, start_s = make_clock(fake_time), fake_time.now_s
    for work_s in (0.01, 0.04, 0.002):
        fake_time.now_s += work_s
        clock.lap("policy")
        clock.wait()
    assert fake_time.now_s == pytest.approx(start_s + 0.15)
    assert clock.late_steps == 0


def test_a_late_step_is_blamed_on_the_stage_that_took_longest(fake_time: Any) -> None:
    clock = make_clock(fake_time)
    fake_time.now_s += 0.02
    clock.lap("read")
    fake_time.now_s += 0.05
    clock.lap("policy")
    clock.wait()
    assert clock.late_steps == 1
    assert clock.late_by_stage == {"policy": 1}
    assert clock.last_late_s == pytest.approx(0.02)


def test_waking_late_is_blamed_on_the_wait(fake_time: Any) -> None:
    clock = make_clock(fake_time)
    clock._sleep = lambda seconds: fake_time.sleep(seconds + 0.01)
    clock.wait()
    assert clock.late_by_stage == {"wait": 1}


def test_lost_time_is_dropped_not_caught_up_with(fake_time: Any) -> None:
    clock = make_clock(fake_time)
    fake_time.now_s += 0.5
    clock.lap("command")
    clock.wait()
    clock.wait()
    assert fake_time.slept == [pytest.approx(0.05)]
    assert clock.late_steps == 1


def test_jitter_within_a_tenth_of_the_period_is_not_late_and_does_not_drift(fake_time: Any) -> None:
    clock, start_s = make_clock(fake_time), fake_time.now_s
    fake_time.now_s += 0.052
    clock.lap("command")
    clock.wait()
    clock.wait()
    assert clock.late_steps == 0
    assert fake_time.now_s == pytest.approx(start_s + 0.1)


def test_as_fast_as_possible_never_sleeps_and_is_never_late(fake_time: Any) -> None:
    clock = make_clock(fake_time, realtime=False)
    fake_time.now_s += 1.0
    clock.lap("command")
    clock.wait()
    assert fake_time.slept == []
    assert clock.late_steps == 0
