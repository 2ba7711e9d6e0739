"""gymnasium's spaces as observations, actions and commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from robots.base import ActionSpec, Array, ArraySpec, CommandSpec, RobotError
from sim.envs.core import command_of, flat, vector_spec
from sim.envs.images import SIDE, shrink

Convert = Callable[[Any], Array]


def observations_of(
    space: spaces.Space[Any],
) -> tuple[dict[str, ArraySpec], Callable[[Any], dict[str, Array]]]:
    """Specs of what `space` holds, and a function that makes them of its samples.

    Keys: those of a Dict, joined by `_` where they nest; else `image` or `vector`.
    """
    found = dict(_leaves(space, ()))
    specs = {_name(path, spec): spec for path, (spec, _) in found.items()}
    if not found or len(specs) < len(found):
        raise RobotError(
            f"the observation space is {space}: expected one key or more, each with its own name"
        )

    def convert(value: Any) -> dict[str, Array]:
        out = {}
        for path, (spec, change) in found.items():
            leaf = value
            for key in path:
                leaf = leaf[key]
            out[_name(path, spec)] = change(leaf)
        return out

    return specs, convert


def action_of(
    space: spaces.Space[Any],
) -> tuple[ActionSpec, CommandSpec, Callable[[Array], Any]]:
    """What a policy chooses, what the body takes, and a function from the latter to the space."""
    if isinstance(space, spaces.Discrete) and space.n > 1:
        action = ActionSpec("discrete", int(space.n))
        start = int(space.start)
        return action, command_of(action), lambda command: start + round(float(command[0]))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        with np.errstate(over="ignore", invalid="ignore"):  # that is what is looked for
            low = space.low.ravel().astype(np.float32)
            high = space.high.ravel().astype(np.float32)
            is_finite = np.isfinite(high - low).all()
        if not (is_finite and (low < high).all()):
            raise RobotError(
                f"the action space is {space}: expected finite bounds, low below high, and a "
                "finite range between them, as actions are scaled to [-1, 1]. "
                "gymnasium.wrappers.RescaleAction or ClipAction can set them"
            )
        action = ActionSpec("continuous", low.size)
        shape, dtype = space.shape, space.dtype

        def convert(command: Array) -> Any:
            return command.reshape(shape).astype(dtype)

        return action, command_of(action, low, high), convert
    raise RobotError(
        f"the action space is {space}: expected a Box of floats, or Discrete with two or more"
    )


def _leaves(
    space: spaces.Space[Any], path: tuple[str, ...]
) -> list[tuple[tuple[str, ...], tuple[ArraySpec, Convert]]]:
    if isinstance(space, spaces.Dict):
        return [leaf for key, one in space.items() for leaf in _leaves(one, (*path, key))]
    return [(path, _leaf(space, path))]


def _leaf(space: spaces.Space[Any], path: tuple[str, ...]) -> tuple[ArraySpec, Convert]:
    if isinstance(space, spaces.Discrete):
        return _one_hot(int(space.n), int(space.start))
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        shape = space.shape
        if space.dtype == np.uint8 and len(shape) == 2:
            return _image(1)
        if space.dtype == np.uint8 and len(shape) == 3 and shape[2] in (1, 3):
            return _image(shape[2])
        if space.dtype != np.uint8 or len(shape) < 2:
            return vector_spec(shape), flat
    where = f"observation {'.'.join(path)}" if path else "the observation space"
    raise RobotError(
        f"{where} is {space}: expected a Box of numbers, an image (H, W) or (H, W, 1 or 3) uint8, "
        "Discrete, MultiBinary, or a Dict of those. A gymnasium wrapper can convert it."
    )


def _one_hot(size: int, start: int) -> tuple[ArraySpec, Convert]:
    def convert(value: Any) -> Array:
        out = np.zeros(size, np.float32)
        out[int(value) - start] = 1
        return out

    return ArraySpec((size,), low=0.0, high=1.0), convert


def _image(channels: int) -> tuple[ArraySpec, Convert]:
    return ArraySpec((SIDE, SIDE, channels), "uint8", low=0, high=255), shrink


def _name(path: tuple[str, ...], spec: ArraySpec) -> str:
    return "_".join(path) or ("image" if spec.is_image else "vector")
