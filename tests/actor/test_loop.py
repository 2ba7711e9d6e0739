from __future__ import annotations

from typing import Any

import pytest

from robots.base import RobotError


def run_for(rig: Any, steps: int, **options: Any) -> Any:
    loop = rig.loop(**options)
    loop.run(lambda: loop.steps >= steps)
    return loop


def test_rows_hold_the_action_that_was_executed_and_what_it_led_to(rig: Any) -> None:
    run_for(rig, 3)
    # Wanted 2 x (0.25, 1.0) = (0.5, 2.0) rad; the body gives (0.5, 1.5): in units of action / 2.
    assert rig.column("action") == [[0, 0], [0.25, 0.75], [0.25, 0.75], [0.25, 0.75]]
    assert rig.column("vector") == [[0, 0], [0.5, 1.5], [0.5, 1.5], [0.5, 1.5]]
    assert rig.column("reward") == [0, 1, 2, 3]
    assert rig.column("policy_version") == [-1, 7, 7, 7]
    assert rig.column("dt_s") == pytest.approx([0, 0.05, 0.05, 0.05])


def test_the_policy_sees_what_was_executed_and_where_episodes_begin(rig: Any) -> None:
    rig.task.episode_steps = 2
    run_for(rig, 4)
    nothing, done = [0, 0], [0.25, 0.75]
    assert rig.runner.seen == [(nothing, True), (done, False), (nothing, True), (done, False)]


def test_the_next_episode_begins_on_the_reading_that_ended_the_last_one(rig: Any) -> None:
    rig.task.episode_steps = 2
    run_for(rig, 4)
    assert rig.column("is_first") == [True, False, False, True, False, False, True]
    assert rig.column("time_s") == pytest.approx([0, 0.05, 0.1, 0.1, 0.15, 0.2, 0.2])
    assert [record.begins for record in rig.records] == [True, False, True, False]


def test_a_clean_stop_ends_the_episode_and_brings_the_robot_to_rest(rig: Any) -> None:
    run_for(rig, 3)
    assert rig.column("is_last") == [False, False, False, True]
    assert not any(rig.column("is_terminal"))
    assert rig.robot.calls == ["connect", "stop", "close"]


def test_the_robot_stops_when_a_sensor_fails_and_the_rows_before_are_kept(rig: Any) -> None:
    rig.robot.fail_at = 3
    with pytest.raises(RobotError, match="cable"):
        run_for(rig, 10)
    assert rig.robot.calls == ["connect", "stop", "close"]
    assert rig.column("is_last") == [False, False, True]


def test_the_robot_stops_when_the_policy_raises(rig: Any) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such key")

    rig.runner.act = fail
    with pytest.raises(RuntimeError, match="no such key"):
        run_for(rig, 10)
    assert rig.robot.calls == ["connect", "stop", "close"]


def test_an_emergency_stop_sends_no_command_and_names_the_rule(rig: Any) -> None:
    rig.runner.action[0] = float("nan")
    with pytest.raises(RobotError, match="not finite"):
        run_for(rig, 10)
    assert rig.robot.steps == 0
    assert rig.robot.calls[:2] == ["connect", "stop"]


def test_the_robot_rests_while_the_policy_is_too_old_and_then_begins_an_episode(rig: Any) -> None:
    loop = rig.loop()

    def sleep(seconds: float) -> None:
        rig.time.now_s += seconds
        rig.runner.must_rest = loop.steps == 2 or (loop.steps == 3 and rig.time.now_s < 101)

    loop.clock._sleep = sleep
    loop.run(lambda: loop.steps >= 4)
    assert rig.robot.calls == ["connect", "stop", "stop", "close"]
    assert rig.column("is_first") == [True, False, False, False, True, False]
    assert rig.column("is_last") == [False, False, False, True, False, True]


@pytest.mark.parametrize("stage", ["act", "read"])
def test_a_stop_by_the_watchdog_ends_the_episode_without_a_row_that_spans_it(
    rig: Any, stage: str
) -> None:
    loop, stalls = rig.loop(), 0
    loop.stalls = lambda: stalls
    owner = {"act": rig.runner, "read": rig.robot}[stage]
    proper, calls = getattr(owner, stage), 0

    def slow(*args: Any) -> Any:
        nonlocal stalls, calls
        calls += 1
        stalls += calls == 3
        return proper(*args)

    setattr(owner, stage, slow)
    loop.run(lambda: loop.steps >= 4)
    # The third action is never sent; the third reading (one before the first row) makes no row.
    assert rig.robot.steps == {"act": 4, "read": 5}[stage]
    before = {"act": 2, "read": 1}[stage]
    after = 4 - before
    assert rig.column("is_first") == [True, *before * [False], True, *after * [False]]
    assert rig.column("is_last") == [*before * [False], True, *after * [False], True]
    assert not any(rig.column("is_terminal"))
    assert rig.robot.calls == ["connect", "stop", "stop", "close"]


def test_the_watchdog_hears_every_step_and_the_report_every_row(rig: Any) -> None:
    run_for(rig, 4)
    assert rig.beats == 4
    assert [record.arrival.reward for record in rig.records] == [1, 2, 3, 4]


def test_a_run_that_is_over_moves_nothing(rig: Any) -> None:
    run_for(rig, 0)
    assert rig.robot.steps == 0
    assert rig.chunks == []
