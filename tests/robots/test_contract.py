"""What every body promises. A new body joins by a line in BODIES; hardware waits for its marker."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from daydreamer.config import load
from daydreamer.config.groups import options, read_option
from robots.base import EpisodicBody, FloatArray, Robot, RobotError
from sim.a1.config import A1TwinConfig
from sim.envs.config import AtariConfig, DMCConfig, EnvConfig, EnvTaskConfig, GymConfig

Build = Callable[[], Robot]
BODIES: dict[str, Build] = {
    "a1_twin": lambda: A1TwinConfig().build(),
    "a1_twin_standing": lambda: A1TwinConfig(start="standing").build(),
    "gym": lambda: environment(GymConfig(id="Pendulum-v1"), "gymnasium", "twin"),
    "gym_discrete": lambda: environment(GymConfig(id="MountainCar-v0"), "gymnasium", "twin"),
    "dmc": lambda: environment(DMCConfig(name="walker_walk"), "dm_control", "dmc"),
    "atari": lambda: environment(AtariConfig(game="boxing"), "ale_py", "atari"),
}
TWINS = ("a1_twin", "a1_twin_standing")


def environment(task: EnvTaskConfig, module: str, extra: str) -> Robot:
    pytest.importorskip(module, reason=f"needs {module}: pip install 'daydreamer[{extra}]'")
    return EnvConfig().build_for(task)


@pytest.fixture(params=BODIES)
def body(request: pytest.FixtureRequest) -> Iterator[Robot]:
    if request.param in TWINS:
        pytest.importorskip("pybullet", reason="its wheels end at Python 3.11")
    robot = BODIES[request.param]()
    yield robot
    robot.close()


@pytest.fixture
def connected(body: Robot) -> Robot:
    body.connect()
    return body


def rest_command(robot: Robot) -> FloatArray:
    """The command nearest to the present pose."""
    command = robot.spec.command
    if "joint_position_rad" not in robot.spec.readings:
        return np.array(command.low, np.float32)
    pose = robot.read().values["joint_position_rad"]
    return np.clip(pose, command.low, command.high).astype(np.float32)


def state(robot: Robot) -> FloatArray:
    """Where the body is: its joints, or all that an environment shows."""
    values = robot.read().values
    keys = ["joint_position_rad"] if "joint_position_rad" in values else sorted(values)
    return np.concatenate([np.ravel(values[key]).astype(np.float32) for key in keys])


def test_body_satisfies_the_protocol(body: Robot) -> None:
    assert isinstance(body, Robot)


def test_nothing_but_a_command_moves_a_robot() -> None:
    # Beginning an episode passes the safety rules by: a world may do that, no machine.
    for task in options("task"):
        if "hardware" in read_option("task", task)["bodies"]:
            config = load([f"task={task}", "body=hardware"])
            assert not isinstance(config.body.build(config.task), EpisodicBody), task
    assert not any(isinstance(BODIES[twin](), EpisodicBody) for twin in TWINS)


def test_spec_is_readable_before_connect(body: Robot) -> None:
    command = body.spec.command
    assert len(command.names) == len(command.low) == len(command.high) == len(set(command.names))
    assert all(low < high for low, high in zip(command.low, command.high, strict=True))
    assert body.spec.control_hz > 0
    assert body.spec.readings


def test_reading_before_connect_is_an_error(body: Robot) -> None:
    with pytest.raises(RobotError, match="connect"):
        body.read()


def test_commanding_before_connect_is_an_error(body: Robot) -> None:
    with pytest.raises(RobotError, match="connect"):
        body.command(np.zeros(len(body.spec.command.names), np.float32))


def test_connecting_twice_changes_nothing(connected: Robot) -> None:
    before_s, before = connected.read().time_s, state(connected)
    connected.connect()
    assert connected.read().time_s >= before_s
    np.testing.assert_allclose(state(connected), before, atol=1e-3)


def test_readings_are_what_the_spec_says(connected: Robot) -> None:
    values = connected.read().values
    assert set(values) == set(connected.spec.readings)
    for key, spec in connected.spec.readings.items():
        assert values[key].shape == spec.shape, key
        assert values[key].dtype == spec.dtype, key
        assert np.isfinite(values[key]).all(), key
        assert spec.low is None or (values[key] >= spec.low).all(), key
        assert spec.high is None or (values[key] <= spec.high).all(), key


def test_a_reading_does_not_change_afterwards(connected: Robot) -> None:
    reading = connected.read()
    kept = {key: value.copy() for key, value in reading.values.items()}
    for _ in range(5):
        connected.command(np.array(connected.spec.command.high, np.float32))
        connected.read()
    for key, value in kept.items():
        np.testing.assert_array_equal(reading.values[key], value)


def test_command_returns_what_was_sent(connected: Robot) -> None:
    target = rest_command(connected)
    sent = connected.command(target)
    assert sent.shape == target.shape
    assert sent.dtype == np.float32
    np.testing.assert_allclose(sent, target, atol=1e-6)


def test_command_beyond_the_limits_comes_back_clipped(connected: Robot) -> None:
    command = connected.spec.command
    sent = connected.command(np.array(command.high, np.float32) + 10)
    np.testing.assert_allclose(sent, command.high, rtol=1e-6)
    sent = connected.command(np.array(command.low, np.float32) - 10)
    np.testing.assert_allclose(sent, command.low, rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_command_that_is_not_finite_is_refused_by_name(connected: Robot, bad: float) -> None:
    target = rest_command(connected)
    target[-1] = bad
    before = state(connected)
    with pytest.raises(RobotError, match=connected.spec.command.names[-1]):
        connected.command(target)
    np.testing.assert_allclose(state(connected), before, atol=1e-2)


def test_command_of_another_size_is_refused(connected: Robot) -> None:
    with pytest.raises(RobotError, match="shape"):
        connected.command(np.zeros(len(connected.spec.command.names) + 1, np.float32))


def test_command_does_not_change_its_argument(connected: Robot) -> None:
    target = np.array(connected.spec.command.high, np.float32) + 1
    kept = target.copy()
    sent = connected.command(target)
    sent[:] = 0
    np.testing.assert_array_equal(target, kept)


def test_time_goes_forward_with_every_command(connected: Robot) -> None:
    times = [connected.read().time_s]
    for _ in range(3):
        connected.command(rest_command(connected))
        times.append(connected.read().time_s)
    np.testing.assert_allclose(np.diff(times), 1 / connected.spec.control_hz, rtol=1e-3)


def test_stop_is_allowed_in_any_state_any_number_of_times(body: Robot) -> None:
    body.stop()
    body.connect()
    body.stop()
    body.stop()
    body.command(rest_command(body))
    body.stop()
    body.stop()
    body.read()
    body.close()
    body.stop()


def test_body_is_at_rest_after_stop(connected: Robot) -> None:
    rng = np.random.default_rng(0)
    command = connected.spec.command
    for _ in range(20):
        connected.command(rng.uniform(command.low, command.high).astype(np.float32))
    connected.stop()
    if "joint_velocity_rad_s" not in connected.spec.readings:
        pytest.skip("nothing moves in an environment between two commands")
    speed = np.abs(connected.read().values["joint_velocity_rad_s"]).max()
    assert speed < 1.0


def test_body_can_be_commanded_again_after_stop(connected: Robot) -> None:
    connected.command(rest_command(connected))
    connected.stop()
    pose = rest_command(connected)
    connected.command(pose)
    if "joint_position_rad" not in connected.spec.readings:
        return
    moved = np.abs(connected.read().values["joint_position_rad"] - pose).max()
    assert moved < 0.3  # it starts from where it lies, not from the last command's filter


def test_stop_may_come_from_another_thread(connected: Robot) -> None:
    thread = threading.Thread(target=connected.stop)
    for _ in range(3):
        connected.command(rest_command(connected))
    thread.start()
    for _ in range(5):
        connected.command(rest_command(connected))
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_close_is_allowed_in_any_state_any_number_of_times(body: Robot) -> None:
    body.close()
    body.connect()
    body.close()
    body.close()
    with pytest.raises(RobotError, match="connect"):
        body.read()


def test_body_can_be_connected_again_after_close(body: Robot) -> None:
    body.connect()
    body.close()
    body.connect()
    body.command(rest_command(body))


@pytest.mark.parametrize("twin", TWINS)
def test_twin_without_pybullet_says_how_to_install_it(
    twin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pybullet", None)
    robot = BODIES[twin]()
    assert robot.spec.command.names
    with pytest.raises(RobotError, match=r"pip install 'daydreamer\[twin\]'"):
        robot.connect()


def test_connecting_prints_nothing(body: Robot, capfd: pytest.CaptureFixture[str]) -> None:
    body.connect()
    body.close()
    assert capfd.readouterr() == ("", "")
