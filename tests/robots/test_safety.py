"""The safety layer: each rule in each mode, on a body of two joints."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from robots.base import ArraySpec, CommandSpec, FloatArray, Reading, RobotSpec
from robots.safety import Safety, SafetyConfig, SafetyVerdict
from robots.safety_config import RULES

SPEC = RobotSpec(
    name="arm",
    readings={
        "joint_position_rad": ArraySpec((2,)),
        "joint_velocity_rad_s": ArraySpec((2,)),
        "joint_torque_nm": ArraySpec((2,)),
        "motor_temperature_c": ArraySpec((2,)),
        "rotation": ArraySpec((3, 3)),
        "tcp_position_m": ArraySpec((3,)),
    },
    command=CommandSpec(("shoulder", "elbow"), "rad", (-1.0, -2.0), (1.0, 2.0)),
    control_hz=10.0,
)
OFF: dict[str, Any] = dict.fromkeys(RULES, "off")


def reading(
    time_s: float = 1.0, stamps_s: dict[str, float] | None = None, **values: Any
) -> Reading:
    sane = {
        "joint_position_rad": [0.1, 0.2],
        "joint_velocity_rad_s": [0.0, 0.0],
        "joint_torque_nm": [0.0, 0.0],
        "motor_temperature_c": [30.0, 30.0],
        "rotation": np.eye(3),
        "tcp_position_m": [0.0, 0.0, 0.5],
    }
    arrays = {key: np.array(value, np.float32) for key, value in {**sane, **values}.items()}
    return Reading(time_s, arrays, stamps_s or {})


def command(*angles: float) -> FloatArray:
    return np.array(angles, np.float32)


def only(rule: str, mode: str, **options: Any) -> Safety:
    return Safety(SafetyConfig(**{**OFF, rule: mode, **options}), SPEC)


def check(
    safety: Safety, wanted: FloatArray, seen: Reading | None = None, now_s: float | None = None
) -> SafetyVerdict:
    seen = seen or reading()
    return safety.check(seen, wanted, seen.time_s if now_s is None else now_s)


def test_good_command_passes_unchanged_and_silently() -> None:
    safety = Safety(SafetyConfig(), SPEC)
    verdict = check(safety, command(0.5, -0.5))
    np.testing.assert_array_equal(verdict.command, [0.5, -0.5])
    assert verdict.command.dtype == np.float32
    assert not verdict.stop
    assert verdict.events == []
    assert set(safety.counts) == set(RULES)
    assert not any(safety.counts.values())


def test_command_beyond_its_limits_is_clipped_by_default() -> None:
    safety = Safety(SafetyConfig(), SPEC)
    verdict = check(safety, command(3.0, 0.0))
    np.testing.assert_array_equal(verdict.command, [1.0, 0.0])
    assert [(event.rule, event.action) for event in verdict.events] == [("command_limits", "clip")]
    assert "shoulder" in verdict.events[0].message


def test_command_that_is_not_finite_stops_by_default() -> None:
    verdict = check(Safety(SafetyConfig(), SPEC), command(np.nan, 0.0))
    assert verdict.stop
    assert np.isfinite(verdict.command).all()


@pytest.mark.parametrize("mode", ["off", "warn", "clip"])
def test_command_that_is_not_finite_is_never_passed_on(mode: str) -> None:
    safety = only("command_finite", mode)
    check(safety, command(0.4, 0.5))
    verdict = check(safety, command(np.nan, 0.0), reading(1.1))
    np.testing.assert_allclose(verdict.command, [0.4, 0.5])
    assert not verdict.stop


def test_first_command_that_is_not_finite_gives_the_measured_pose() -> None:
    verdict = check(only("command_finite", "clip"), command(np.nan, 0.0))
    np.testing.assert_allclose(verdict.command, [0.1, 0.2])


def test_fast_command_is_slowed_to_the_rate() -> None:
    # 2 rad/s at 10 Hz: 0.2 rad a step
    safety = only("command_rate", "clip", command_rate_limit=2.0)
    check(safety, command(0.0, 0.0))
    verdict = check(safety, command(1.0, -0.1), reading(1.1))
    np.testing.assert_allclose(verdict.command, [0.2, -0.1])
    assert safety.counts["command_rate"] == 1


BROKEN = {
    "reading_finite": {"joint_torque_nm": [np.nan, 0.0]},
    "joint_position": {"joint_position_rad": [1.5, 0.0]},  # limit 1.0, margin 0.3
    "joint_velocity": {"joint_velocity_rad_s": [0.0, -26.0]},
    "joint_torque": {"joint_torque_nm": [36.0, 0.0]},
    "temperature": {"motor_temperature_c": [20.0, 61.0]},
    "tilt": {"rotation": np.diag([1.0, -1.0, -1.0])},
    "workspace": {"tcp_position_m": [0.0, 0.0, -0.1]},
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_reading_rule_stops(rule: str) -> None:
    safety = only(rule, "stop")
    assert not check(safety, command(0.0, 0.0)).stop
    verdict = check(safety, command(0.0, 0.0), reading(1.1, **BROKEN[rule]))
    assert verdict.stop
    assert verdict.events[-1].rule == rule


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_reading_rule_warns_and_passes_the_command(rule: str) -> None:
    verdict = check(only(rule, "warn"), command(0.3, 0.0), reading(**BROKEN[rule]))
    assert not verdict.stop
    assert {event.rule for event in verdict.events} == {rule}
    np.testing.assert_allclose(verdict.command, [0.3, 0.0])


@pytest.mark.parametrize("rule", set(BROKEN) - {"reading_finite"})
def test_broken_reading_rule_in_clip_mode_repeats_the_last_command(rule: str) -> None:
    safety = only(rule, "clip")
    check(safety, command(0.4, 0.4))
    verdict = check(safety, command(0.9, 0.9), reading(1.1, **BROKEN[rule]))
    np.testing.assert_allclose(verdict.command, [0.4, 0.4])
    assert not verdict.stop


@pytest.mark.parametrize("rule", BROKEN)
def test_rule_that_is_off_says_nothing(rule: str) -> None:
    safety = Safety(SafetyConfig(**OFF), SPEC)
    verdict = check(safety, command(0.3, 0.0), reading(**BROKEN[rule]))
    assert not verdict.stop
    assert verdict.events == []


def test_message_names_what_was_found_and_expected() -> None:
    verdict = check(only("temperature", "stop"), command(0, 0), reading(**BROKEN["temperature"]))
    assert "motor_temperature_c[1] is 61 (expected -50 .. 60) C" in verdict.events[-1].message


def test_warm_motor_warns_before_a_hot_one_stops() -> None:
    verdict = check(
        Safety(SafetyConfig(), SPEC), command(0, 0), reading(motor_temperature_c=[55.0, 30.0])
    )
    assert not verdict.stop
    assert [(event.rule, event.action) for event in verdict.events] == [("temperature", "warn")]


def test_old_sensor_is_stale() -> None:
    safety = only("stale_sensor", "stop", max_age_s=0.2)
    seen = reading(5.0, stamps_s={"camera": 4.7})
    verdict = check(safety, command(0, 0), seen)
    assert verdict.stop
    assert "camera" in verdict.events[0].message
    assert not check(safety, command(0, 0), reading(5.1, stamps_s={"camera": 5.0})).stop


def test_old_reading_is_stale() -> None:
    assert check(only("stale_sensor", "stop"), command(0, 0), reading(5.0), now_s=5.3).stop


def test_stamp_that_does_not_move_is_frozen() -> None:
    safety = only("stale_sensor", "stop", max_repeats=3)
    stops = [check(safety, command(0, 0), reading(5.0)).stop for _ in range(4)]
    assert stops == [False, False, False, True]
    assert not check(safety, command(0, 0), reading(5.1)).stop


def test_soft_start_blends_from_the_pose_it_began_at() -> None:
    safety = only("soft_start", "clip", soft_start_s=2.0)
    pose = [0.2, 0.0]
    verdicts = [
        check(safety, command(1.0, 1.0), reading(t, joint_position_rad=pose)) for t in (10, 11, 12)
    ]
    # 0 of the way, then half: 0.2 + 0.8 / 2, then all of it
    np.testing.assert_allclose([v.command for v in verdicts], [[0.2, 0], [0.6, 0.5], [1, 1]])
    assert not safety.counts["soft_start"]


def test_restart_begins_softly_again() -> None:
    safety = only("soft_start", "clip", soft_start_s=2.0)
    for t in (10, 20):
        check(safety, command(1.0, 1.0), reading(t))
    safety.restart()
    verdict = check(safety, command(1.0, 1.0), reading(30))
    np.testing.assert_allclose(verdict.command, [0.1, 0.2])


def test_events_are_counted_each_and_logged_once_while_they_last(
    caplog: pytest.LogCaptureFixture,
) -> None:
    safety = Safety(SafetyConfig(), SPEC)
    for step in range(5):
        check(safety, command(3.0, 0.0), reading(1 + step / 10))
    assert safety.counts["command_limits"] == 5
    assert sum("command_limits" in record.message for record in caplog.records) == 1


def test_rule_without_its_reading_is_inert_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare = RobotSpec("ball", {"image": ArraySpec((2, 2, 3), "uint8")}, SPEC.command, 2.0)
    with caplog.at_level(logging.INFO):
        safety = Safety(SafetyConfig(tilt="stop"), bare)
        seen = Reading(1.0, {"image": np.zeros((2, 2, 3), np.uint8)})
        for _ in range(2):
            assert not safety.check(seen, command(0, 0), 1.0).stop
    assert sum("motor_temperature_c" in record.message for record in caplog.records) == 1
    assert "tilt (rotation)" in caplog.text


def test_stopped_command_is_not_remembered_as_good() -> None:
    safety = Safety(SafetyConfig(), SPEC)
    check(safety, command(0.4, 0.4))
    check(safety, command(0.8, 0.8), reading(1.1, motor_temperature_c=[70, 70]))
    safety = only("command_finite", "clip")
    check(safety, command(0.4, 0.4))
    assert check(safety, command(np.nan, 0), reading(1.2)).command.tolist() == pytest.approx(
        [0.4, 0.4]
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tilt": "halt"}, "tilt"),
        ({"soft_start": "warn"}, "soft_start"),
        ({"max_age_s": 0.0}, "max_age_s"),
        ({"temperature_warn_c": 70.0}, "temperature_warn_c"),
        ({"workspace_low_m": [1.0, 0.0, 0.0]}, "workspace_low_m"),
    ],
)
def test_senseless_options_are_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        SafetyConfig(**options)
