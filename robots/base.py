"""The interface of every body and every task. Knows numpy and nothing else.

A *body* can be read and commanded: hardware, a twin or a recorded log. A *task* turns a body's
readings into observations, reward and flags, and a policy's normalised action into the body's
units; the same task code serves twin and hardware. Words and conventions: docs/overview.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
FloatArray = NDArray[np.float32]


class RobotError(RuntimeError):
    """The world misbehaved (cable, file, sensor, user). Says what was found and what to do."""


@dataclass(frozen=True)
class ArraySpec:
    """One named array: its shape, dtype name, unit and inclusive range (None: unbounded)."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    unit: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def is_image(self) -> bool:
        """(H, W, C) uint8 arrays are images; everything else is a vector."""
        return len(self.shape) == 3 and self.dtype == "uint8"


@dataclass(frozen=True)
class ActionSpec:
    """What a policy chooses: `size` numbers in [-1, 1], or one of `size` (discrete, one-hot)."""

    kind: Literal["continuous", "discrete"]
    size: int

    def __post_init__(self) -> None:
        if self.kind not in ("continuous", "discrete") or self.size < 1:
            raise ValueError(
                f"ActionSpec(kind={self.kind!r}, size={self.size}): "
                "kind must be continuous or discrete, size at least 1"
            )


@dataclass(frozen=True)
class CommandSpec:
    """What a body accepts: one number per name, in `unit`, within [low, high]."""

    names: tuple[str, ...]
    unit: str
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class RobotSpec:
    """What a body offers; valid before connect()."""

    name: str
    readings: Mapping[str, ArraySpec]
    command: CommandSpec
    control_hz: float


@dataclass(frozen=True)
class Reading:
    """Newest sensor values, all of one instant as far as the body can tell."""

    time_s: float  # the body's own monotonic clock; a twin's clock is simulated time
    values: Mapping[str, Array]
    stamps_s: Mapping[str, float] = field(default_factory=dict)  # per sensor, where it differs


@runtime_checkable
class Robot(Protocol):
    """A body that can be read and commanded. Hardware and twin both implement it."""

    @property
    def spec(self) -> RobotSpec:
        """Readable before connect()."""

    def connect(self) -> None:
        """Open the link and hold the present pose. Raises RobotError; moves nothing."""

    def read(self) -> Reading:
        """Newest sensor values, never older than one control period; RobotError when stale."""

    def command(self, target: FloatArray) -> FloatArray:
        """Send (A,) targets in spec.command.unit; returns (A,) what was really sent.

        Hardware returns at once. A twin first advances its simulated time by one control period.
        """

    def stop(self) -> None:
        """Come to a safe rest (damping for legs, hold for arms). Any state, any number of times."""

    def close(self) -> None:
        """stop(), then release everything. Any number of times."""


@runtime_checkable
class EpisodicBody(Protocol):
    """What a body has beyond Robot when its world begins anew with each episode: an environment.

    Robots have none of this: they go on from where they are, and nothing but command() moves them.
    So no body of a task's `hardware` may be one. Such a body's readings have `is_last`; after that
    only begin_episode() leads on.
    """

    def begin_episode(self) -> None:
        """Put the world where an episode begins; nothing happens where it is there already.

        Called between two commands, past the safety rules: it must not command actuators.
        """

    def skip(self, steps: int) -> None:
        """Draw other episodes than with any other `steps`; with 0 those that the seed gives.

        An actor gives the control steps that its run has, and more where it is not the run's only
        one. Allowed before connect(), and meant to be called there.
        """


@dataclass(frozen=True)
class Arrival:
    """What a task makes of one reading: the observation arrived at and what arriving earned."""

    obs: Mapping[str, Array]  # keys and shapes of Task.observations
    reward: float
    is_last: bool = False  # over for any reason, a time-out included
    is_terminal: bool = False  # the future is worth nothing
    log: Mapping[str, float] = field(default_factory=dict)  # stored as log_*, never fed to a model


@runtime_checkable
class Task(Protocol):
    """Reward, flags and reset behaviour, from readings only."""

    @property
    def name(self) -> str:
        """As in configs/task."""

    @property
    def observations(self) -> Mapping[str, ArraySpec]:
        """Model inputs."""

    @property
    def log_keys(self) -> tuple[str, ...]:
        """The keys every Arrival.log has, without the log_ prefix."""

    @property
    def action(self) -> ActionSpec:
        """What the policy chooses."""

    def begin(self, reading: Reading) -> Arrival:
        """Start an episode at `reading`; reward is 0. No wait, no motion."""

    def arrive(self, reading: Reading) -> Arrival:
        """One control step later. Counts the episode's length; sets is_last at its limit."""

    def to_command(self, action: FloatArray) -> FloatArray:
        """(action.size,) normalised -> (len(command.names),) in the body's units."""

    def from_command(self, sent: FloatArray) -> FloatArray:
        """What was really sent, mapped back to (action.size,): inverse of to_command in limits."""
