"""The task and the body chosen: what a `kind` must be, and the node that holds one."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from daydreamer.config.errors import ConfigError

if TYPE_CHECKING:  # robots.base needs numpy, which `--help` can do without
    from robots.base import Robot, Task


class TaskParams(Protocol):
    """What a task's `kind` must be: a dataclass of plain values that can build the task.

    Import numpy and all that is heavy inside build(): thread limits are set after the config.
    """

    def build(self) -> Task:
        """The task. Cheap; moves nothing."""


class BodyParams(Protocol):
    """What a body's `kind` must be: a dataclass of plain values that can build the body.

    As with tasks, import what is heavy inside build().
    """

    def build(self) -> Robot:
        """The body, not yet connected."""


@runtime_checkable
class BodyOfTaskParams(Protocol):
    """A body's `kind` may be this instead: what it is follows from the task, as a game does."""

    def build_for(self, task: TaskParams) -> Robot:
        """The body for this task, not yet connected."""


@runtime_checkable
class Variant(Protocol):
    """A task's `kind` may have this: many tasks in one, such as every game of a console."""

    @property
    def variant(self) -> str:
        """Which one it is, in a word or two: `walker_walk`."""


@runtime_checkable
class Sighted(Protocol):
    """A task's `kind` may have this, where its settings decide whether it looks at images."""

    @property
    def option(self) -> str:
        """The option in configs/task that such settings belong to."""

    @property
    def observes_images(self) -> bool:
        """Whether it looks at images, as these settings are."""


@dataclass
class TaskNode:
    """The task chosen: `kind` names the dataclass, `module:Class`, and `params` is one."""

    option: str
    kind: str
    params: TaskParams
    image: bool = False  # whether the task looks at images: sizes may differ
    bodies: dict[str, str] = field(default_factory=dict)  # alias (twin, hardware, log) -> body

    def __post_init__(self) -> None:
        """Refuse settings that `image`, and so the size, does not fit."""
        params = self.params
        if isinstance(params, Sighted) and params.observes_images != self.image:
            seen = "images" if params.observes_images else "no images"
            raise ConfigError(
                f"task={self.option} with these settings observes {seen}, and its sizes are for "
                f"{'tasks with' if self.image else 'tasks without'} images. Choose "
                f"task={params.option}, or set image in configs/task/{self.option}.yaml."
            )

    def build(self) -> Task:
        """The task itself."""
        return self.params.build()

    @property
    def label(self) -> str:
        """The option and, where it stands for many tasks, which: `dmc_walker_walk`."""
        variant = self.params.variant if isinstance(self.params, Variant) else ""
        return re.sub(r"[^\w.-]", "-", f"{self.option}_{variant}") if variant else self.option


@dataclass
class BodyNode:
    """The body chosen: `kind` names the dataclass, `module:Class`, and `params` is one."""

    option: str
    kind: str
    params: BodyParams | BodyOfTaskParams

    def build(self, task: TaskNode) -> Robot:
        """The body itself, not yet connected."""
        if isinstance(self.params, BodyOfTaskParams):
            return self.params.build_for(task.params)
        return self.params.build()
