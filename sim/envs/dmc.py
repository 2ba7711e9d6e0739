"""The DeepMind Control suite as Worlds: positions and velocities, or 64x64 pixels."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robots.base import ActionSpec, Array, ArraySpec, RobotError
from sim.envs.config import DMCConfig
from sim.envs.core import (
    Layout,
    Outcome,
    command_of,
    flat,
    load_package,
    nearest_names,
    vector_spec,
)
from sim.envs.gl import cannot_draw, choose_gl, require_gl
from sim.envs.images import SIDE

_CAMERAS = {"quadruped": 2}  # the others look through camera 0
_SHORT = {"cup": "ball_in_cup", "point": "point_mass"}  # names that papers use


class DMCWorld:
    """One task of the suite, its actions repeated and their rewards summed."""

    def __init__(self, cfg: DMCConfig) -> None:
        """Raises RobotError: no such task, the package missing, OpenGL asked for and failing."""
        choose_gl()
        for chatty in ("absl", "OpenGL"):  # they tell at INFO what they found, in every process
            logging.getLogger(chatty).setLevel(logging.WARNING)
        suite = _suite(f"task.name={cfg.name}")
        self._fatal: type[Exception] = load_package("mujoco", "dmc", cfg.name).FatalError
        domain, task = split_name(cfg.name, list(suite.ALL_TASKS))
        self._name, self._repeat, self._pixels = cfg.name, cfg.repeat, cfg.pixels
        self._camera = _CAMERAS.get(domain, 0) if cfg.camera is None else cfg.camera
        self._env = suite.load(domain, task, task_kwargs={"random": 0})
        self._check_camera()
        self._set_quality(cfg.shadow_size)
        spec = self._env.action_spec()
        low = np.broadcast_to(spec.minimum, spec.shape).astype(np.float32)
        high = np.broadcast_to(spec.maximum, spec.shape).astype(np.float32)
        action = ActionSpec("continuous", int(spec.shape[0]))
        rate_hz = 1 / (self._env.control_timestep() * cfg.repeat)
        self._layout = Layout(
            self._specs(), action, command_of(action, low, high), round(rate_hz, 6)
        )

    @property
    def layout(self) -> Layout:
        """Its specs and its rate."""
        return self._layout

    def begin(self, seed: int, fresh: bool) -> Outcome:
        """Every episode starts from scratch. Raises RobotError where pixels cannot be drawn."""
        if self._pixels:  # not before: a learner only looks at the layout, and needs no OpenGL
            require_gl(f"task.name={self._name} from pixels")
        # The suite's own way to set the seed is to load the task anew, which takes long.
        self._env.task.random.seed(seed)
        return Outcome(self._observe(self._env.reset().observation))

    def step(self, command: NDArray[np.float32]) -> Outcome:
        """A discount of 0 is terminal; the suite's own time-out keeps it at 1."""
        total = 0.0
        for _ in range(self._repeat):
            step = self._env.step(command)
            total += float(step.reward or 0.0)
            if step.last():
                break
        last = bool(step.last())
        return Outcome(self._observe(step.observation), total, last, last and step.discount == 0)

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """From the task's camera."""
        require_gl(f"a picture of {self._name}")
        try:
            picture = self._env.physics.render(height, width, camera_id=self._camera)
        except (self._fatal, AttributeError, RuntimeError) as error:
            raise cannot_draw(f"a picture of {self._name}", error) from error
        return np.array(picture, np.uint8)

    def close(self) -> None:
        """Free it."""
        self._env.close()

    def _specs(self) -> dict[str, ArraySpec]:
        if self._pixels:
            return {"image": ArraySpec((SIDE, SIDE, 3), "uint8", low=0, high=255)}
        return {key: vector_spec(x.shape) for key, x in self._env.observation_spec().items()}

    def _observe(self, found: Mapping[str, Any]) -> dict[str, Array]:
        if self._pixels:
            return {"image": self.render(SIDE, SIDE)}
        return {key: flat(value) for key, value in found.items()}

    def _set_quality(self, shadow_size: int | None) -> None:
        """As the suite draws, where pictures are what is observed; a film need not be so fine."""
        quality = self._env.physics.model.vis.quality
        if shadow_size is not None:
            quality.shadowsize = shadow_size
        elif not self._pixels:  # a third of the time without a GPU
            quality.shadowsize, quality.offsamples = 512, 0

    def _check_camera(self) -> None:
        count = int(self._env.physics.model.ncam)
        if self._camera >= count:
            raise RobotError(
                f"task.camera={self._camera}: {self._name} has {count} cameras, "
                f"expected -1 (free) to {count - 1}"
            )


def _suite(what: str) -> Any:
    """The suite; where OpenGL is asked for, importing it tries that."""
    try:
        return load_package("dm_control.suite", "dmc", what)
    except RobotError:
        raise
    except (ImportError, AttributeError, RuntimeError) as error:
        raise cannot_draw(what, error) from error


def split_name(name: str, known: list[tuple[str, str]]) -> tuple[str, str]:
    """(domain, task) of `domain_task`. Raises RobotError with the nearest name there is."""
    names = {f"{domain}_{task}".lower(): (domain, task) for domain, task in known}
    word = name.lower().replace("-", "_")
    first, _, rest = word.partition("_")
    for candidate in (word, f"{_SHORT.get(first, first)}_{rest}"):
        if candidate in names:
            return names[candidate]
    raise RobotError(f"task.name={name}: no such task. {nearest_names(word, sorted(names))}")
