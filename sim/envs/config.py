"""Keys of the known tasks, and of the one body that they all have."""

from __future__ import annotations

import dataclasses
import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sim.envs.body import EnvBody
    from sim.envs.core import Layout, World
    from sim.envs.task import EnvTask


class EnvTaskConfig(ABC):
    """A task whose world is an environment with episodes of its own."""

    option: str  # as in configs/task
    episode_steps: int  # control steps after which an episode is cut; 0: the environment's own

    @property
    @abstractmethod
    def variant(self) -> str:
        """Which environment: part of the run's folder."""

    @abstractmethod
    def make(self) -> World:
        """The environment. Raises RobotError when there is no such one, or a package is missing."""

    def build(self) -> EnvTask:
        """The task. The environment is made for a moment, once a process, to see its spaces."""
        from sim.envs.task import EnvTask

        return EnvTask(self.option, self.layout(), self.episode_steps)

    def layout(self) -> Layout:
        """What the environment shows and takes."""
        assert dataclasses.is_dataclass(self)
        return _layout(type(self), dataclasses.astuple(self))


@functools.cache
def _layout(kind: type[EnvTaskConfig], values: tuple[Any, ...]) -> Layout:
    world = kind(*values).make()
    try:
        return world.layout
    finally:
        world.close()


@dataclass
class GymConfig(EnvTaskConfig):
    """Any environment registered with gymnasium."""

    id: str = "Pendulum-v1"  # or Pendulum, the newest; `module:Name-v0` imports the module first
    repeat: int = 1  # environment steps a control step; their rewards are summed
    episode_steps: int = 0  # control steps after which an episode is cut; 0: the environment's own

    option = "gym"

    def __post_init__(self) -> None:
        _require_steps(self.repeat, self.episode_steps)
        if not self.id:
            raise ValueError("id is empty: expected an environment, e.g. Pendulum-v1")

    @property
    def variant(self) -> str:
        """As registered."""
        return self.id

    def make(self) -> World:
        """See sim.envs.gym."""
        from sim.envs.gym import GymWorld

        return GymWorld(self)


@dataclass
class DMCConfig(EnvTaskConfig):
    """DeepMind Control suite."""

    name: str = "cartpole_swingup"  # domain_task
    repeat: int = 2  # environment steps a control step; their rewards are summed
    episode_steps: int = 0  # control steps after which an episode is cut; 0: the environment's own
    pixels: bool = False  # observe a 64x64 image instead of positions and velocities
    camera: int | None = None  # that draws it; null: 0, and 2 for the quadruped as is customary
    shadow_size: int | None = None  # null: the suite's 2048; 512 draws twice as fast on a CPU

    def __post_init__(self) -> None:
        _require_steps(self.repeat, self.episode_steps)
        if self.camera is not None and self.camera < -1:
            raise ValueError(f"camera={self.camera}: expected -1 (free), or a camera's number")
        if self.shadow_size is not None and self.shadow_size < 0:
            raise ValueError(f"shadow_size={self.shadow_size}: expected at least 0 (no shadows)")

    @property
    def option(self) -> str:  # type: ignore[override]  # two files in configs/task share the kind
        """As in configs/task."""
        return "dmc_pixels" if self.pixels else "dmc"

    @property
    def observes_images(self) -> bool:
        """As daydreamer.config.schema.Sighted."""
        return self.pixels

    @property
    def variant(self) -> str:
        """Domain and task."""
        return self.name

    def make(self) -> World:
        """See sim.envs.dmc."""
        from sim.envs.dmc import DMCWorld

        return DMCWorld(self)


@dataclass
class AtariConfig(EnvTaskConfig):
    """Atari 2600. The defaults are the protocol that results at 100k steps are published with."""

    game: str = "boxing"  # as ale-py calls it: bank_heist, boxing, breakout ...
    repeat: int = 4  # frames a control step; what is seen is the maximum of the last two
    episode_steps: int = 27_000  # control steps after which a game is cut (108,000 frames)
    life_loss: bool = True  # a lost life ends the episode (terminal); the game goes on in the next
    reward: Literal["tanh", "sign", "raw"] = "tanh"  # what is learned from; log_* has the points
    sticky: float = 0.0  # chance that a frame repeats the last action instead
    full_actions: bool = False  # all 18 actions instead of those that the game uses
    noop_max: int = 30  # a game begins after 1 .. noop_max idle frames; 0: at once

    option = "atari"

    def __post_init__(self) -> None:
        _require_steps(self.repeat, self.episode_steps)
        if not 0 <= self.sticky < 1:
            raise ValueError(f"sticky={self.sticky}: expected within [0, 1), e.g. 0.25")
        if self.noop_max < 0:
            raise ValueError(f"noop_max={self.noop_max}: expected at least 0")

    @property
    def variant(self) -> str:
        """The game."""
        return self.game

    def make(self) -> World:
        """See sim.envs.atari."""
        from sim.envs.atari import AtariWorld

        return AtariWorld(self)


@dataclass
class EnvConfig:
    """The body of every such task: what it is follows from the task."""

    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed={self.seed}: expected at least 0")

    def build_for(self, task: object) -> EnvBody:
        """The task's environment as a body, not yet made."""
        from sim.envs.body import EnvBody

        if not isinstance(task, EnvTaskConfig):
            raise ValueError(
                f"body env belongs to tasks with an environment, not to {type(task).__name__}"
            )
        return EnvBody(f"env_{task.variant}", task.layout(), task.make, self.seed)


def _require_steps(repeat: int, episode_steps: int) -> None:
    if repeat < 1:
        raise ValueError(f"repeat={repeat}: expected at least 1")
    if episode_steps < 0:
        raise ValueError(f"episode_steps={episode_steps}: expected at least 0 (its own limit)")
