"""Any environment registered with gymnasium as a World."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robots.base import RobotError
from sim.envs.config import GymConfig
from sim.envs.core import Layout, Outcome, load_package
from sim.envs.gl import choose_gl
from sim.envs.images import resize

DEFAULT_HZ = 20.0  # of an environment that does not say how long its step is


class GymWorld:
    """gymnasium.make(id), its actions repeated and their rewards summed."""

    def __init__(self, cfg: GymConfig) -> None:
        """Raises RobotError: no such environment, a package missing, or a space unheard of."""
        choose_gl()  # some are MuJoCo's
        gymnasium = load_package("gymnasium", "twin", f"task.id={cfg.id}")
        from sim.envs.spaces import action_of, observations_of

        self._id, self._repeat = cfg.id, cfg.repeat
        self._error: type[Exception] = gymnasium.error.Error
        try:
            kind = _spec(gymnasium, cfg.id)
            drawn = "rgb_array" in _modes(kind)
            # Not every environment knows the argument.
            drawing = {"render_mode": "rgb_array"} if drawn else {}
            self._env = gymnasium.make(kind, disable_env_checker=True, **drawing)
        except ImportError as error:
            raise RobotError(
                f"task.id={cfg.id}: {error}. What an environment needs beyond gymnasium is not "
                "installed with it; for its own families: pip install 'gymnasium[mujoco]', "
                "'gymnasium[box2d]' and so on."
            ) from error
        except gymnasium.error.Error as error:
            raise RobotError(f"task.id={cfg.id}: {error}") from error
        self._drawn = drawn
        try:
            observations, self._observe = observations_of(self._env.observation_space)
            action, command, self._act = action_of(self._env.action_space)
        except RobotError as error:
            self._env.close()
            raise RobotError(f"task.id={cfg.id}: {error}") from error
        rate_hz = 1 / (_step_s(self._env) * cfg.repeat)
        self._layout = Layout(observations, action, command, rate_hz)

    @property
    def layout(self) -> Layout:
        """Its spaces and its rate."""
        return self._layout

    def begin(self, seed: int, fresh: bool) -> Outcome:
        """Reset; every episode starts from scratch."""
        obs, _ = self._env.reset(seed=seed)
        return Outcome(self._observe(obs))

    def step(self, command: NDArray[np.float32]) -> Outcome:
        """Termination is terminal; truncation, gymnasium's time-out, is last only."""
        action, total = self._act(command), 0.0
        for _ in range(self._repeat):
            obs, reward, terminated, truncated, _ = self._env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return Outcome(
            self._observe(obs), total, bool(terminated or truncated), is_terminal=bool(terminated)
        )

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """What the environment draws, scaled."""
        if not self._drawn:
            raise RobotError(f"{self._id} has no render mode rgb_array")
        try:
            picture: Any = self._env.render()
        except (self._error, ImportError, RuntimeError) as error:
            raise RobotError(f"{self._id} cannot be drawn: {error}") from error
        return resize(picture, width, height)

    def close(self) -> None:
        """Free it."""
        self._env.close()


def _spec(gymnasium: Any, name: str) -> Any:
    """What is registered as `[module:]name[-vN]`: imports the module, takes the newest N."""
    from gymnasium.envs.registration import find_highest_version, get_env_id, parse_env_id

    module, _, name = name.rpartition(":")
    if module:
        importlib.import_module(module)
    namespace, word, version = parse_env_id(name)
    if version is None and (newest := find_highest_version(namespace, word)) is not None:
        name = get_env_id(namespace, word, newest)
    return gymnasium.spec(name)


def _modes(spec: Any) -> list[str]:
    """Render modes of an environment, before it is made."""
    from gymnasium.envs.registration import load_env_creator

    entry = spec.entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    metadata = getattr(creator, "metadata", None) or {}
    return list(metadata.get("render_modes") or [])


def _step_s(env: Any) -> float:
    """Simulated seconds of one environment step: its own `dt` or `tau`, or its film's rate."""
    for name in ("dt", "tau"):
        value = getattr(env.unwrapped, name, None)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    fps = (env.metadata or {}).get("render_fps") or DEFAULT_HZ
    return 1 / float(fps)
