"""The body and the task that every environment shares."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from robots.base import EpisodicBody, FloatArray, Robot, RobotError, Task
from sim.envs.body import EnvBody
from sim.envs.config import EnvConfig, GymConfig
from sim.envs.gym import GymWorld

PENDULUM = GymConfig()


def body(seed: int = 0, task: GymConfig = PENDULUM) -> EnvBody:
    return EnvConfig(seed).build_for(task)


def starts(robot: EnvBody, count: int) -> list[list[float]]:
    """Observations at the start of so many episodes."""
    found = []
    for _ in range(count):
        found.append(robot.read().values["vector"].tolist())
        robot.command(np.zeros(1, np.float32))
        robot.begin_episode()
    return found


def test_it_is_a_robot_whose_world_begins_anew_and_its_task_a_task() -> None:
    assert isinstance(body(), Robot)
    assert isinstance(body(), EpisodicBody)
    assert isinstance(PENDULUM.build(), Task)


def test_everything_about_it_is_known_without_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[gymnasium.Env] = []  # type: ignore[type-arg]

    def begin(*_: object) -> None:
        pytest.fail("nobody plays in an environment that is only looked at")

    monkeypatch.setattr(GymWorld, "begin", begin)
    monkeypatch.setattr(GymWorld, "close", lambda world: made.append(world._env))
    task = GymConfig(id="MountainCarContinuous-v0")
    built, robot = task.build(), body(task=task)
    assert built.observations["vector"].shape == (2,)
    assert built.action.size == len(robot.spec.command.names) == 1
    assert set(robot.spec.readings) == {"vector", "reward", "is_last", "is_terminal"}
    assert len(made) == 1, "made once, and closed again"


def test_an_episode_begins_somewhere_else_each_time_and_the_clock_goes_on() -> None:
    robot = body()
    robot.connect()
    found = starts(robot, 5)
    assert len({tuple(start) for start in found}) == 5
    assert robot.read().time_s == pytest.approx(5 * 0.05)
    robot.close()


def test_a_world_that_has_just_begun_stays_as_it_is() -> None:
    robot = body()
    robot.connect()
    before = robot.read()
    robot.begin_episode()
    np.testing.assert_array_equal(robot.read().values["vector"], before.values["vector"])
    robot.close()


def test_the_seed_repeats_the_episodes_and_a_resumed_run_has_others() -> None:
    found = {}
    for name, seed, steps in (("a", 1, 0), ("b", 1, 0), ("c", 2, 0), ("d", 1, 50), ("e", 1, 60)):
        robot = body(seed)
        robot.skip(steps)
        robot.connect()
        found[name] = starts(robot, 3)
        robot.close()
    assert found["a"] == found["b"]
    others = [start for name in "cde" for start in found[name]]
    assert not [start for start in others if start in found["a"]]
    assert found["d"] != found["e"]


def test_reset_with_a_seed_repeats_what_follows() -> None:
    robot = body()
    robot.connect()
    found = []
    for _ in range(2):
        robot.reset(7)
        assert robot.read().time_s == 0
        found.append(starts(robot, 3))
    assert found[0] == found[1]
    robot.close()


def test_after_the_end_only_a_new_episode_leads_on() -> None:
    robot = body(task=GymConfig(id="CartPole-v1"))
    robot.connect()
    right = np.ones(1, np.float32)
    while not robot.read().values["is_last"]:
        robot.command(right)
    with pytest.raises(RobotError, match=r"the episode is over; call begin_episode\(\)"):
        robot.command(right)
    robot.begin_episode()
    robot.command(right)
    assert not robot.read().values["is_last"]
    robot.close()


def test_a_limit_of_the_task_s_own_ends_an_episode_without_being_terminal() -> None:
    task, robot = GymConfig(episode_steps=3).build(), body()
    robot.connect()
    for _ in range(2):
        first = task.begin(robot.read())
        assert (first.reward, first.is_last) == (0.0, False)
        ends = []
        for _ in range(3):
            robot.command(np.zeros(1, np.float32))
            arrival = task.arrive(robot.read())
            ends.append((arrival.is_last, arrival.is_terminal))
        assert ends == [(False, False), (False, False), (True, False)]
        robot.begin_episode()
    robot.close()


@pytest.mark.parametrize(("action", "torque_nm"), [(-1.0, -2.0), (0.5, 1.0), (1.0, 2.0)])
def test_actions_are_scaled_to_the_range_and_back(action: float, torque_nm: float) -> None:
    task = PENDULUM.build()
    wanted = np.array([action], np.float32)
    command = task.to_command(wanted)
    np.testing.assert_allclose(command, [torque_nm])
    np.testing.assert_allclose(task.from_command(command), wanted)


def test_an_action_beyond_the_range_is_clipped() -> None:
    task = PENDULUM.build()
    np.testing.assert_allclose(task.to_command(np.array([3.0], np.float32)), [2.0])


def test_a_choice_among_several_travels_as_its_index() -> None:
    task = GymConfig(id="MountainCar-v0").build()
    assert (task.action.kind, task.action.size) == ("discrete", 3)
    one_hot: FloatArray = np.array([0, 0, 1], np.float32)
    assert task.to_command(one_hot).tolist() == [2.0]
    assert task.from_command(np.array([2.0], np.float32)).tolist() == [0, 0, 1]


def test_the_body_of_another_kind_of_task_is_refused() -> None:
    with pytest.raises(ValueError, match="belongs to tasks with an environment, not to object"):
        EnvConfig().build_for(object())
