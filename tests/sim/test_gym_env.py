"""The gymnasium registration of the walking task."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import sim.gym_env  # registers
from robots.a1.config import A1WalkConfig

pytest.importorskip("pybullet", reason="twins need PyBullet, whose wheels end at Python 3.11")

assert sim.gym_env


@pytest.mark.parametrize("reset", ["keep", "start"])
def test_gymnasiums_own_checker_is_content(reset: str) -> None:
    # Warnings are errors in this suite.
    env = gymnasium.make("daydreamer/A1Walk-v0", reset=reset, render_mode="rgb_array")
    check_env(env.unwrapped)


def play(env: gymnasium.Env[Any, Any], steps: int) -> list[tuple[bool, bool]]:
    env.action_space.seed(0)
    return [env.step(env.action_space.sample())[2:4] for _ in range(steps)]


def test_episode_is_truncated_after_250_steps_and_never_terminated() -> None:
    env = gymnasium.make("daydreamer/A1Walk-v0")
    env.reset(seed=0)
    ends = play(env, 250)
    assert ends == [(False, False)] * 249 + [(False, True)]
    env.close()


def test_keep_leaves_the_robot_where_the_episode_was_cut() -> None:
    env = gymnasium.make("daydreamer/A1Walk-v0", reset="keep", task=A1WalkConfig(episode_steps=20))
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(20):
        obs, *_ = env.step(env.action_space.sample())
    begun, _ = env.reset()
    np.testing.assert_array_equal(begun, obs)
    env.close()


def test_start_puts_the_robot_back() -> None:
    env = gymnasium.make("daydreamer/A1Walk-v0", reset="start")
    first, _ = env.reset(seed=0)
    play(env, 20)
    again, _ = env.reset()
    np.testing.assert_array_equal(again, first)
    env.close()


def test_seed_repeats_the_episode_even_without_resets() -> None:
    env = gymnasium.make("daydreamer/A1Walk-v0", reset="keep")
    rewards = []
    for _ in range(2):
        env.reset(seed=3)
        env.action_space.seed(0)
        rewards.append([env.step(env.action_space.sample())[1] for _ in range(20)])
    assert rewards[0] == rewards[1]
    env.close()


def test_info_has_the_rewards_terms_and_the_executed_action() -> None:
    env = gymnasium.make("daydreamer/A1Walk-v0")
    env.reset(seed=0)
    action = np.full(12, 0.25, np.float32)
    *_, info = env.step(action)
    assert {"upright", "hip", "shoulder", "knee", "velocity", "forward_speed_m_s"} < set(info)
    np.testing.assert_allclose(info["action"], action, atol=1e-5)
    env.close()


@pytest.mark.parametrize("options", [{"reset": "never"}, {"render_mode": "human"}])
def test_senseless_options_are_refused_by_name(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        sim.gym_env.A1WalkEnv(**options)  # type: ignore[arg-type]
