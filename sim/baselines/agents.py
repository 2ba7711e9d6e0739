"""The agents that ours is compared with."""

from __future__ import annotations

import importlib.util

from gymnasium import spaces

from robots.base import RobotError
from sim.baselines.episodes import Logged
from sim.task_env import TaskEnv


def check(agent: str, env: TaskEnv) -> None:
    """Raises RobotError where `agent` cannot play, before anything is written."""
    if agent != "sac":
        return
    if isinstance(env.action_space, spaces.Discrete):
        raise RobotError(
            f"SAC chooses numbers, and this task takes one of {env.action_space.n} actions: "
            "choose --agent random, or a task with continuous actions"
        )
    if importlib.util.find_spec("stable_baselines3") is None:
        raise RobotError("SAC needs stable-baselines3: pip install 'daydreamer[dev]'")


def run_random(env: Logged, steps: int, seed: int) -> None:
    """Uniform random actions."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()


def run_sac(
    env: Logged, steps: int, seed: int, *, prefill: int, updates_per_step: int, threads: int
) -> None:
    """SAC with stable-baselines3's defaults (two layers of 256).

    prefill: random steps before it learns. threads: of torch; 0 leaves it to torch.
    """
    import torch
    from stable_baselines3 import SAC

    if threads > 0:
        torch.set_num_threads(threads)
    model = SAC(
        "MlpPolicy",
        env,
        learning_starts=min(prefill, steps),
        gradient_steps=updates_per_step,
        seed=seed,
        device="cpu",
    )
    model.learn(total_timesteps=steps)
