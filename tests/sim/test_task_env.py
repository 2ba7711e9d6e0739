"""A task on a body as a gymnasium environment."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from robots.base import RobotError
from sim.envs.config import AtariConfig, EnvConfig, EnvTaskConfig, GymConfig
from sim.task_env import TaskEnv


def make(task: EnvTaskConfig) -> TaskEnv:
    return TaskEnv(task.build(), EnvConfig().build_for(task))


def test_choices_stay_choices_and_a_fall_is_no_truncation() -> None:
    env = make(GymConfig(id="CartPole-v1"))
    assert env.action_space == spaces.Discrete(2)
    assert env.control_hz == pytest.approx(50.0)
    first, _ = env.reset(seed=1)
    ends = [(False, False)]
    while not any(ends[-1]):
        *_, terminated, truncated, info = env.step(1)
        ends.append((terminated, truncated))
    assert ends[-1] == (True, False)
    assert info["action"].tolist() == [0, 1]
    again, _ = env.reset()
    assert (again != first).any()
    np.testing.assert_array_equal(env.reset(seed=1)[0], first)
    env.close()


def test_a_time_out_is_a_truncation() -> None:
    env = make(GymConfig(episode_steps=2))
    env.reset(seed=0)
    action = np.zeros(1, np.float32)
    assert [env.step(action)[2:4] for _ in range(2)] == [(False, False), (False, True)]
    env.close()


def test_vectors_are_put_one_behind_the_other() -> None:
    pytest.importorskip("dm_control", reason="needs dm_control: pip install 'daydreamer[dmc]'")
    from sim.envs.config import DMCConfig

    env = make(DMCConfig(name="walker_walk"))
    first, _ = env.reset(seed=0)
    assert env.observation_space.shape == first.shape == (14 + 1 + 9,)
    env.close()


def test_images_are_refused() -> None:
    pytest.importorskip("ale_py", reason="needs ale-py: pip install 'daydreamer[atari]'")
    with pytest.raises(RobotError, match=r"atari observes images \(image\): expected vectors"):
        make(AtariConfig())
