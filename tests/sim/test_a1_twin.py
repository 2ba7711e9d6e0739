"""The A1 twin as physics: it stands, lies, falls and repeats itself bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from robots.a1.config import A1WalkConfig
from robots.a1.reward import STAND
from robots.a1.spec import FOLDED_RAD, STANDING_RAD, TORQUE_LIMIT_NM
from robots.base import FloatArray, RobotError
from sim.a1.config import STARTS, A1TwinConfig, PushConfig
from sim.a1.physics import A1Physics
from sim.a1.twin import A1Twin

pytest.importorskip("pybullet", reason="twins need PyBullet, whose wheels end at Python 3.11")

TASK = A1WalkConfig().build()
STAND_COMMAND = TASK.to_command(np.tile(STAND, 4).astype(np.float32))


@pytest.fixture
def build() -> Iterator[Any]:
    """Builds connected twins, and closes them after the test."""
    twins: list[A1Twin] = []

    def make(**options: Any) -> A1Twin:
        twins.append(A1TwinConfig(**options).build())
        twins[-1].connect()
        return twins[-1]

    yield make
    for twin in twins:
        twin.close()


def random_commands(steps: int, seed: int = 0) -> list[FloatArray]:
    rng = np.random.default_rng(seed)
    return [TASK.to_command(action) for action in rng.uniform(-1, 1, (steps, 12))]


def run(twin: A1Twin, commands: list[FloatArray]) -> NDArray[np.float64]:
    """Every reading of every step, flat; (steps, N)."""
    rows = []
    for command in commands:
        twin.command(command)
        reading = twin.read()
        rows.append(np.concatenate([[reading.time_s], *map(np.ravel, reading.values.values())]))
    return np.stack(rows)


def test_stands_for_three_seconds(build: Any) -> None:
    twin = build(start="standing")
    run(twin, [STAND_COMMAND] * 60)
    reading = twin.read()
    assert 0.27 < twin.position_m[2] < 0.30
    assert reading.values["foot_contact"].all()
    assert np.abs(reading.values["joint_velocity_rad_s"]).max() < 0.05
    assert np.abs(reading.values["joint_torque_nm"]).max() < 10
    assert TASK.arrive(reading).reward == pytest.approx(8.95, abs=0.1)


def test_lies_on_its_back_and_earns_five(build: Any) -> None:
    twin = build(start="back")
    reading = twin.read()
    assert TASK.arrive(reading).reward == pytest.approx(5.0, abs=0.05)
    assert not reading.values["foot_contact"].any()
    # The box on its back tilts the trunk: without it, it would lie flat.
    assert -0.99 < reading.values["rotation"][2, 2] < -0.90


def test_random_policy_stays_finite_and_above_the_floor(build: Any) -> None:
    twin = build(start="back")
    for command in random_commands(400):
        twin.command(command)
        assert np.isfinite(TASK.arrive(twin.read()).reward)
        assert 0.05 < twin.position_m[2] < 0.4


def test_torques_stay_within_the_limit(build: Any) -> None:
    twin = build(start="fall", clip_rad=0.0, kp_nm_rad=300.0)
    torques = [
        np.abs(twin.read().values["joint_torque_nm"]).max()
        for command in random_commands(60)
        if twin.command(command) is not None
    ]
    assert max(torques) == pytest.approx(TORQUE_LIMIT_NM, rel=1e-5)


def test_clip_bounds_the_pull_of_a_far_target(build: Any) -> None:
    # kp 80 x 0.2 rad = 16 Nm at most while the joints are nearly still
    twin = build(start="back")
    twin.command(STAND_COMMAND)
    assert np.abs(twin.read().values["joint_torque_nm"]).max() < 16.5


def test_velocity_is_that_of_the_trunks_origin() -> None:
    # Integrated over a fall that turns the trunk, it gives the way that the origin went.
    physics = A1Physics(A1TwinConfig())
    physics.place((0.0, 0.0, 0.5), (0.3, 0.8, 0.0), FOLDED_RAD.tolist())
    before, way, tipped = physics.measure().position_m, np.zeros(3), 0.0
    for _ in range(300):
        physics.drive([STANDING_RAD.tolist()])
        state = physics.measure()
        way += 0.002 * state.velocity_m_s
        tipped = max(tipped, float(np.linalg.norm(state.gyro_rad_s)))
    physics.close()
    assert tipped > 2  # so that the centre of mass and the origin move differently
    np.testing.assert_allclose(way, state.position_m - before, atol=2e-3)


def test_rotation_and_rpy_agree(build: Any) -> None:
    twin = build(start="fall", seed=3)
    values = twin.read().values
    roll, pitch, _ = values["rpy_rad"]
    rotation = values["rotation"]
    assert rotation[2, 2] == pytest.approx(np.cos(roll) * np.cos(pitch), abs=1e-5)
    assert rotation[2, 0] == pytest.approx(-np.sin(pitch), abs=1e-5)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)


@pytest.mark.parametrize("start", STARTS)
def test_same_seed_and_commands_give_the_same_bits(build: Any, start: str) -> None:
    commands = random_commands(40)
    options = {"start": start, "seed": 7, "push": PushConfig(enabled=True, period_s=0.5)}
    first, second = (run(build(**options), commands) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_reset_with_a_seed_repeats_the_run(build: Any) -> None:
    twin = build(start="fall")
    commands = random_commands(40)
    twin.reset(seed=5)
    first = run(twin, commands)
    twin.reset(seed=5)
    np.testing.assert_array_equal(run(twin, commands), first)


def test_reset_without_a_seed_falls_in_another_way(build: Any) -> None:
    twin = build(start="fall")
    before = twin.read().values["rpy_rad"]
    twin.reset()
    assert not np.allclose(before, twin.read().values["rpy_rad"])
    assert twin.read().time_s == 0


def test_mixed_start_draws_every_kind(build: Any) -> None:
    twin = build(start="mixed")
    heights = set()
    for _ in range(15):
        twin.reset()
        heights.add(round(float(twin.position_m[2]), 4))
    assert len(heights) > 3  # back and standing are always the same, falls never


def test_snapshot_continues_bit_for_bit(build: Any) -> None:
    twin = build(start="back", push=PushConfig(enabled=True, period_s=0.4, duration_s=0.13))
    run(twin, random_commands(15))  # in the middle of filter, interpolation and a push
    snapshot = twin.snapshot()
    commands = random_commands(40, seed=1)
    first = run(twin, commands)
    for _ in range(2):
        twin.restore(snapshot)
        np.testing.assert_array_equal(run(twin, commands), first)


def test_snapshot_shows_the_old_state_at_once(build: Any) -> None:
    twin = build()
    before, snapshot = twin.read(), twin.snapshot()
    run(twin, random_commands(5))
    twin.restore(snapshot)
    assert twin.read().time_s == before.time_s
    np.testing.assert_array_equal(
        twin.read().values["joint_torque_nm"], before.values["joint_torque_nm"]
    )


def test_snapshot_of_another_twin_is_refused(build: Any) -> None:
    with pytest.raises(RobotError, match="another twin"):
        build().restore(build().snapshot())


def test_snapshot_may_outlive_its_twin(build: Any) -> None:
    twin = build()
    snapshot = twin.snapshot()
    twin.close()
    del snapshot


def test_push_has_its_impulse_and_its_schedule(build: Any) -> None:
    # 10 Ns on 12.45 kg; friction takes some of it, so the trunk gains up to about 0.8 m/s.
    push = PushConfig(
        enabled=True, period_s=2.0, impulse_low_ns=10.0, impulse_high_ns=10.0, duration_s=0.1
    )
    twin = build(start="standing", push=push)
    speeds = []
    for _ in range(48):
        twin.command(STAND_COMMAND)
        speeds.append(float(np.linalg.norm(twin.read().values["base_velocity_m_s"][:2])))
    assert max(speeds[30:40]) < 0.1  # the push comes at 2.0 s
    assert 0.2 < max(speeds[40:]) < 1.5


def test_stop_lets_a_standing_robot_down(build: Any) -> None:
    twin = build(start="standing")
    run(twin, [STAND_COMMAND] * 20)
    twin.stop()
    assert twin.position_m[2] < 0.2
    assert np.abs(twin.read().values["joint_velocity_rad_s"]).max() < 0.5


def test_without_filter_a_target_is_reached_sooner(build: Any) -> None:
    moved = []
    for filter_hz in (1.5, 0.0):
        twin = build(start="back", filter_hz=filter_hz)
        start = twin.read().values["joint_position_rad"]
        run(twin, [STAND_COMMAND] * 3)
        moved.append(np.abs(twin.read().values["joint_position_rad"] - start).max())
    assert moved[1] > 1.2 * moved[0]


@pytest.mark.parametrize(
    "options",
    [
        {"start": "lying"},
        {"physics_step_s": 0.003},
        {"physics_step_s": 0.0019},
        {"filter_hz": 10.0},
        {"clip_rad": -0.2},
        {"solver_iterations": 0},
    ],
)
def test_senseless_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        A1TwinConfig(**options)


def test_push_longer_than_its_period_is_refused() -> None:
    with pytest.raises(ValueError, match="duration_s"):
        PushConfig(period_s=1.0, duration_s=2.0)


@pytest.mark.slow
def test_rolling_over_and_standing_up_is_possible(build: Any) -> None:
    # Random targets held for 0.25 s each, then the stand: about one try in fifty succeeds.
    twin = build(start="back")
    start, rng = twin.snapshot(), np.random.default_rng(0)
    best = 0.0
    for _ in range(400):
        twin.restore(start)
        for knot in np.clip(0.8 * rng.standard_normal((6, 12)), -1, 1):
            run(twin, [TASK.to_command(knot)] * 5)
        run(twin, [STAND_COMMAND] * 30)
        best = max(best, TASK.arrive(twin.read()).reward)
        if best > 8.5:
            return
    pytest.fail(f"best reward after the stand: {best:.2f}")
