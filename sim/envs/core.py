"""The one shape that gymnasium, DeepMind Control and Atari are brought into.

# config.py   what each is told: a task's keys
# gym.py, dmc.py, atari.py   one maker each: a World
# body.py     a World as robots.base.Robot: commands in, readings out
# task.py     readings to observations, reward and flags: robots.base.Task
"""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from robots.base import ActionSpec, Array, ArraySpec, CommandSpec, RobotError

# Readings beside the observations; the task makes an Arrival of them.
SIGNALS: Final = {
    "reward": ArraySpec(()),
    "is_last": ArraySpec((), "bool"),
    "is_terminal": ArraySpec((), "bool"),
}
# Columns of a row: no observation can be called so.
_TAKEN: Final = {*SIGNALS, "is_first", "action", "actor", "time_s", "dt_s", "policy_version"}


@dataclass(frozen=True)
class Layout:
    """What a world shows and takes: known without playing in it."""

    observations: Mapping[str, ArraySpec]
    action: ActionSpec
    command: CommandSpec
    control_hz: float  # of simulated time, action repeat included
    log: Mapping[str, ArraySpec] = field(default_factory=dict)  # figures beside the reward

    def __post_init__(self) -> None:
        for key in self.observations:
            if key in _TAKEN or key in self.log or key.startswith("log_"):
                raise RobotError(
                    f"the environment has an observation called {key}, which rows use themselves: "
                    "rename it with a gymnasium wrapper."
                )


class Outcome(NamedTuple):
    """What one control step, or the start of an episode, led to."""

    obs: Mapping[str, Array]  # as Layout.observations
    reward: float = 0.0  # summed over repeated actions
    is_last: bool = False  # over for any reason
    is_terminal: bool = False  # the future is worth nothing
    log: Mapping[str, float] = {}  # as Layout.log


class World(Protocol):
    """An environment. Same seeds and commands give the same outcomes."""

    @property
    def layout(self) -> Layout:
        """Known as soon as it is made."""

    def begin(self, seed: int, fresh: bool) -> Outcome:
        """Start an episode, drawn from `seed`. fresh: from scratch, whatever was going on."""

    def step(self, command: NDArray[np.float32]) -> Outcome:
        """One control step under a (len(command.names),) command within its limits."""

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """(height, width, 3) picture. Raises RobotError where none can be drawn, and says why."""

    def close(self) -> None:
        """Free everything."""


def command_of(
    action: ActionSpec, low: Array | None = None, high: Array | None = None
) -> CommandSpec:
    """The command for an action: (A,) numbers within [low, high], or one index if discrete."""
    if action.kind == "discrete":
        return CommandSpec(("action",), "index", (0.0,), (float(action.size - 1),))
    assert low is not None
    assert high is not None
    names = tuple(f"action_{i}" for i in range(action.size))
    return CommandSpec(names, "", tuple(low.tolist()), tuple(high.tolist()))


def vector_spec(shape: tuple[int, ...]) -> ArraySpec:
    """Of an array of `shape` as a vector; a scalar is a vector of one."""
    return ArraySpec((math.prod(shape),))


def flat(value: Any) -> Array:
    """Any numbers as a float32 vector of their own."""
    return np.array(value, np.float32).reshape(-1)


def load_package(module: str, extra: str, what: str) -> Any:
    """Import `module`. Raises RobotError with the line that installs it when it is missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise RobotError(
            f"{what} needs a package that is not installed ({error}): "
            f"pip install 'daydreamer[{extra}]'"
        ) from error


def nearest_names(name: str, known: list[str]) -> str:
    """What `name` may have been meant to be. One sentence."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else f"Known: {', '.join(known)}."
