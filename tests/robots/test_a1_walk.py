"""The walking task: observation, action scaling, the cut."""

from __future__ import annotations

import math

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


def test_roll_jumps_at_the_released_seam_unless_told_otherwise() -> None:
    # On its back, a little to either side: -3.1 and 3.1, or -3.1 + 2 pi = 3.183 and 3.1.
    seen = reading()
    rolls: dict[float, list[float]] = {}
    for seam_rad in (math.pi, 1.5 * math.pi):
        task = A1WalkConfig(roll_seam_rad=seam_rad).build()
        rolls[seam_rad] = []
        for roll in (-3.1, 3.1, -1.5, 0.1):
            seen.values["rpy_rad"][0] = roll
            rolls[seam_rad].append(task.begin(seen).obs["vector"][0])
    np.testing.assert_allclose(rolls[math.pi], [-3.1, 3.1, -1.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(rolls[1.5 * math.pi], [3.1832, 3.1, -1.5, 0.1], rtol=1e-4)


@pytest.mark.parametrize(
    "options", [{"episode_steps": 0}, {"target_speed_m_s": 0.0}, {"roll_seam_rad": 1.0}]
)
def test_senseless_options_are_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        A1WalkConfig(**options)  # type: ignore[arg-type]
