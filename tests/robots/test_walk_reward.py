"""The released reward, by poses set by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from robots.a1.reward import STAND, WalkReward, normalise_joints, walk_reward
from robots.a1.spec import ACTION_HIGH_RAD, ACTION_LOW_RAD

Floats = NDArray[np.float64]
STILL = np.zeros(3)
LEVEL = np.eye(3)


def joints(hip: float, shoulder: float, knee: float) -> Floats:
    """Angles (12,) in rad of four equal legs, from normalised ones."""
    normalised = np.tile([hip, shoulder, knee], 4)
    return ACTION_LOW_RAD + (normalised + 1) / 2 * (ACTION_HIGH_RAD - ACTION_LOW_RAD)


POSE = joints(*STAND.tolist())


def about_x(angle_rad: float) -> Floats:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def about_y(angle_rad: float) -> Floats:
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def reward(
    pose: Floats = POSE, rotation: Floats = LEVEL, velocity: Floats | list[float] = STILL
) -> WalkReward:
    return walk_reward(
        joint_position_rad=pose, rotation=rotation, base_velocity_m_s=np.array(velocity)
    )


def test_action_range_is_the_released_one() -> None:
    # Worked out in the reference: hip +-0.787, shoulder -0.995 .. 3.665, knee -2.679 .. -1.628.
    np.testing.assert_allclose(ACTION_LOW_RAD[:3], [-0.787, -0.995, -2.679], atol=6e-4)
    np.testing.assert_allclose(ACTION_HIGH_RAD[:3], [0.787, 3.665, -1.628], atol=6e-4)
    # The stand: hip 0, shoulder (-0.995 + 3.665)/2 - 0.2 * 2.330 = 0.869, knee at its edge.
    np.testing.assert_allclose(POSE[:3], [0.0, 0.869, -1.628], atol=6e-4)


def test_normalised_joints_are_the_inverse_of_the_action() -> None:
    np.testing.assert_allclose(normalise_joints(POSE), np.tile([0.0, -0.2, 1.0], 4), atol=1e-12)


def test_flat_on_the_back_earns_five() -> None:
    # upright 0, so no other term is paid: 0 + 5 * (0 + 1) = 5
    r = reward(rotation=about_x(np.pi))
    assert r.total == pytest.approx(5.0)
    assert (r.upright, r.hip, r.shoulder, r.knee, r.velocity) == pytest.approx((0, 0, 0, 0, 0))


def test_on_its_side_earns_half_of_the_upright_term() -> None:
    # z axis level: upright 0.5, below 0.7: 0.5 + 5 = 5.5
    assert reward(rotation=about_x(np.pi / 2)).total == pytest.approx(5.5)


def test_standing_still_in_pose_earns_nine() -> None:
    # 1 + 1 + 1 + 1 + 5 * (0 + 1) = 9
    r = reward()
    assert r.total == pytest.approx(9.0)
    assert (r.upright, r.hip, r.shoulder, r.knee, r.velocity) == pytest.approx((1, 1, 1, 1, 0))


def test_walking_at_the_target_speed_earns_fourteen() -> None:
    # straight 0.3 / 0.3, speed 0.3 / 0.3: 4 + 5 * (1 + 1) = 14; faster earns no more
    assert reward(velocity=[0.3, 0, 0]).total == pytest.approx(14.0)
    assert reward(velocity=[1.5, 0, 0]).total == pytest.approx(14.0)


def test_half_the_target_speed_earns_half_the_velocity_term() -> None:
    # straight 1, speed 0.15 / 0.3 = 0.5: 4 + 5 * (0.5 + 1) = 11.5
    assert reward(velocity=[0.15, 0, 0]).total == pytest.approx(11.5)


def test_target_speed_is_an_option() -> None:
    # straight 1, speed 0.3 / 0.6 = 0.5
    r = walk_reward(
        joint_position_rad=POSE,
        rotation=LEVEL,
        base_velocity_m_s=np.array([0.3, 0, 0]),
        target_speed_m_s=0.6,
    )
    assert r.velocity == pytest.approx(0.5)


def test_walking_askew_earns_the_cosine() -> None:
    # v = (0.3, 0.4, 0): straight 0.3 / 0.5 = 0.6, speed 0.3 / 0.3 = 1: 4 + 5 * 1.6 = 12
    r = reward(velocity=[0.3, 0.4, 0])
    assert r.total == pytest.approx(12.0)
    assert r.forward_speed_m_s == pytest.approx(0.3)


def test_vertical_speed_counts_against_straightness() -> None:
    # v = (0.3, 0, 0.4): the speed is the full 3-D norm, 0.5
    assert reward(velocity=[0.3, 0, 0.4]).velocity == pytest.approx(0.6)


def test_walking_backwards_earns_as_much_as_standing() -> None:
    # max(0, v_f) is 0, which also kills the sign of the other factor
    r = reward(velocity=[-0.3, 0, 0])
    assert r.total == pytest.approx(9.0)
    assert r.forward_speed_m_s == pytest.approx(-0.3)


def test_heading_is_the_trunks_and_not_the_worlds() -> None:
    # turned left by 90 degrees, moving along the world's y axis: straight ahead
    quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert reward(rotation=quarter, velocity=[0, 0.3, 0]).total == pytest.approx(14.0)
    assert reward(rotation=quarter, velocity=[0.3, 0, 0]).total == pytest.approx(9.0)


def test_heading_of_a_pitched_trunk_is_not_renormalised() -> None:
    # pitch 60 degrees / 2: cos 30 = 0.866; forward 0.3 * 0.866 = 0.2598
    # upright 0.866 / 2 + 0.5 = 0.933; velocity 0.866 * 0.866 = 0.75
    r = reward(rotation=about_y(np.pi / 6), velocity=[0.3, 0, 0])
    assert r.forward_speed_m_s == pytest.approx(0.2598, abs=1e-4)
    assert r.velocity == pytest.approx(0.75)
    assert r.total == pytest.approx(0.9330 + 3 + 5 * 1.75, abs=1e-4)


def test_perfect_stillness_is_no_division_by_zero() -> None:
    with np.errstate(all="raise"):
        assert reward(velocity=[0.0, 0.0, 0.0]).velocity == 0.0


def test_hips_are_measured_against_the_farthest_they_can_be() -> None:
    # hip 0.25 of at most 1.0: 1 - 0.25 = 0.75 > 0.7, so the rest is paid: 0.75 + 3 + 5 = 8.75
    assert reward(joints(0.25, -0.2, 1.0)).total == pytest.approx(8.75)


def test_shoulders_are_measured_against_the_farthest_they_can_be() -> None:
    # shoulder at 0.1 is 0.3 from -0.2, of at most 1.2: 1 - 0.25 = 0.75
    r = reward(joints(0.0, 0.1, 1.0))
    assert r.shoulder == pytest.approx(0.75)
    assert r.knee == pytest.approx(1.0)


def test_knees_are_measured_against_the_farthest_they_can_be() -> None:
    # knee at 0.5 is 0.5 from 1.0, of at most 2.0: 1 - 0.25 = 0.75; velocity is unlocked
    r = reward(joints(0.0, -0.2, 0.5), velocity=[0.3, 0, 0])
    assert r.knee == pytest.approx(0.75)
    assert r.total == pytest.approx(3 + 0.75 + 10)


def test_each_term_is_locked_until_the_one_before_exceeds_the_mark() -> None:
    # hips at 0.3: 1 - 0.3 = 0.7, which is not more than 0.7: nothing after it is paid
    r = reward(joints(0.3001, -0.2, 1.0), velocity=[0.3, 0, 0])
    assert r.hip == pytest.approx(0.7, abs=1e-3)
    assert (r.shoulder, r.knee, r.velocity) == (0, 0, 0)
    # shoulders 0.36 / 1.2 = 0.3 away
    r = reward(joints(0.0, 0.1601, 1.0), velocity=[0.3, 0, 0])
    assert (r.knee, r.velocity) == (0, 0)
    # knees 0.6 / 2 = 0.3 away
    r = reward(joints(0.0, -0.2, 0.3999), velocity=[0.3, 0, 0])
    assert r.knee == pytest.approx(0.7, abs=1e-3)
    assert r.velocity == 0


def test_one_leg_of_four_weighs_a_quarter() -> None:
    # one hip 0.8 away, three right: 1 - 0.8 / 4 = 0.8
    pose = POSE.copy()
    pose[0] = joints(0.8, 0, 0)[0]
    assert reward(pose).hip == pytest.approx(0.8)


def test_joints_beyond_the_action_range_count_as_at_its_edge() -> None:
    # The knee's stop lies far beyond the action's edge, and the edge is the stand.
    pose = POSE.copy()
    pose[2::3] = -0.95
    assert reward(pose).knee == pytest.approx(1.0)


def test_leading_dimensions_are_free() -> None:
    pose = np.stack([np.stack([POSE, POSE, joints(0.25, -0.2, 1.0)])] * 2)  # (2, 3, 12)
    rotation = np.stack([np.stack([LEVEL, about_x(np.pi), LEVEL])] * 2)
    velocity = np.broadcast_to(np.array([0.3, 0, 0]), (2, 3, 3))
    r = reward(pose, rotation, velocity)
    assert all(term.shape == (2, 3) for term in r)
    np.testing.assert_allclose(r.total, [[14.0, 5.0, 13.75]] * 2)


def test_total_lies_between_five_and_fourteen_whatever_the_state() -> None:
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((500, 3, 3)))[0]
    r = reward(rng.uniform(-4, 4, (500, 12)), rotation, rng.standard_normal((500, 3)))
    assert (r.total >= 5).all()
    assert (r.total <= 14).all()
