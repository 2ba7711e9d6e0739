"""The agents that ours is compared with."""

from __future__ import annotations

from robots.base import RobotError
from sim.baselines.episodes import Logged


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
    try:
        import torch
        from stable_baselines3 import SAC
    except ImportError as error:
        raise RobotError(
            f"SAC needs stable-baselines3 ({error}): pip install 'daydreamer[dev]'"
        ) from error
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
