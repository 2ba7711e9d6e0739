"""The walking task: observation, action scaling, the cut."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from robots.a1.config import A1WalkConfig
from robots.a1.spec import (
    ACTION_HIGH_RAD,
    ACTION_LOW_RAD,
    JOINT_HIGH_RAD,
    JOINT_LOW_RAD,
    JOINTS,
    READINGS,
    a1_spec,
)
from robots.base import Reading, RobotError, Task


def reading(time_s: float = 0.0) -> Reading:
    values = {key: np.zeros(spec.shape, spec.dtype) for key, spec in READINGS.items()}
    values["rpy_rad"] = np.array([0.1, 0.2, 0.3], np.float32)
    values["gyro_rad_s"] = np.array([0.4, 0.5, 0.6], np.float32)
    values["joint_position_rad"] = np.arange(12, dtype=np.float32)
    values["rotation"] = np.eye(3, dtype=np.float32)
    return Reading(time_s, values)


def test_task_satisfies_the_protocol() -> None:
    assert isinstance(A1WalkConfig().build(), Task)


def test_joint_order_is_the_motors() -> None:
    assert JOINTS[:4] == ("FR_hip", "FR_upper", "FR_lower", "FL_hip")
    assert [joint[:2] for joint in JOINTS[::3]] == ["FR", "FL", "RR", "RL"]


def test_observation_is_roll_pitch_their_rates_and_the_angles() -> None:
    task = A1WalkConfig().build()
    vector = task.begin(reading()).obs["vector"]
    assert vector.shape == task.observations["vector"].shape == (16,)
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, [0.1, 0.2, 0.4, 0.5, *range(12)])


def test_up_is_seen_in_the_trunk_s_frame_in_place_of_roll_and_pitch() -> None:
    task = A1WalkConfig(orientation="up").build()
    seen = reading()
    assert task.observations["vector"].shape == (17,)
    for roll_rad, pitch_rad, up in (
        (0.0, 0.0, [0, 0, 1]),
        (math.pi, 0.0, [0, 0, -1]),  # on its back
        (-math.pi, 0.0, [0, 0, -1]),  # the same, where roll has jumped
        (math.pi / 2, 0.0, [0, 1, 0]),  # on its right side: its left, y, is up
        (0.0, math.pi / 2, [-1, 0, 0]),  # on its nose
        (0.3, 0.2, [-math.sin(0.2), math.sin(0.3) * math.cos(0.2), math.cos(0.3) * math.cos(0.2)]),
    ):
        sin, cos = math.sin, math.cos
        roll = [[1, 0, 0], [0, cos(roll_rad), -sin(roll_rad)], [0, sin(roll_rad), cos(roll_rad)]]
        pitch = [
            [cos(pitch_rad), 0, sin(pitch_rad)],
            [0, 1, 0],
            [-sin(pitch_rad), 0, cos(pitch_rad)],
        ]
        seen.values["rotation"][:] = np.array(pitch) @ np.array(roll)
        vector = task.begin(seen).obs["vector"]
        np.testing.assert_allclose(vector[:3], up, atol=1e-6)
        np.testing.assert_allclose(vector[3:], [0.4, 0.5, *range(12)])


def test_begin_earns_nothing_and_arrive_earns_the_reward() -> None:
    task = A1WalkConfig().build()
    assert task.begin(reading()).reward == 0
    assert task.arrive(reading()).reward > 5


def test_arrivals_log_exactly_the_log_keys() -> None:
    task = A1WalkConfig().build()
    assert set(task.begin(reading()).log) == set(task.log_keys)
    assert set(task.arrive(reading()).log) == set(task.log_keys)
    assert "forward_speed_m_s" in task.log_keys


def test_episode_is_cut_at_its_limit_and_never_terminal() -> None:
    task = A1WalkConfig(episode_steps=3).build()
    for _ in range(2):  # counts afresh after each begin
        task.begin(reading())
        arrivals = [task.arrive(reading()) for _ in range(3)]
        assert [arrival.is_last for arrival in arrivals] == [False, False, True]
        assert not any(arrival.is_terminal for arrival in arrivals)


def test_action_zero_is_the_middle_of_the_range() -> None:
    command = A1WalkConfig().build().to_command(np.zeros(12, np.float32))
    np.testing.assert_allclose(command[:3], [0.0, 1.335, -2.154], atol=1e-3)


def test_actions_span_the_range_and_are_clipped_to_it() -> None:
    task = A1WalkConfig().build()
    ones = np.ones(12, np.float32)
    np.testing.assert_allclose(task.to_command(ones), ACTION_HIGH_RAD, rtol=1e-6)
    np.testing.assert_allclose(task.to_command(-ones), ACTION_LOW_RAD, rtol=1e-6)
    np.testing.assert_allclose(task.to_command(7 * ones), ACTION_HIGH_RAD, rtol=1e-6)


def test_range_lies_within_the_joints_limits() -> None:
    spec = a1_spec("a1").command
    assert (np.array(spec.low) < ACTION_LOW_RAD).all()
    assert (np.array(spec.high) > ACTION_HIGH_RAD).all()


def test_from_command_is_the_inverse_of_to_command() -> None:
    task = A1WalkConfig().build()
    action = np.random.default_rng(0).uniform(-1, 1, 12).astype(np.float32)
    back = task.from_command(task.to_command(action))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, action, atol=1e-5)


def test_targets_beyond_the_range_map_to_its_edge() -> None:
    task = A1WalkConfig().build()
    np.testing.assert_array_equal(task.from_command(JOINT_HIGH_RAD.astype(np.float32)), 1)
    np.testing.assert_array_equal(task.from_command(JOINT_LOW_RAD.astype(np.float32)), -1)


def test_reading_that_is_not_finite_is_an_error() -> None:
    task = A1WalkConfig().build()
    bad = reading()
    bad.values["joint_position_rad"][3] = np.nan
    with pytest.raises(RobotError, match="finite"):
        task.begin(bad)


@pytest.mark.parametrize(
    "options", [{"episode_steps": 0}, {"target_speed_m_s": 0.0}, {"orientation": "roll"}]
)
def test_senseless_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        A1WalkConfig(**options)
