"""An environment as robots.base.Robot and EpisodicBody. It steps as fast as it is asked to."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from robots.base import Array, FloatArray, Reading, RobotError, RobotSpec
from sim.envs.core import SIGNALS, Layout, Outcome, World


class EnvBody:
    """Reward and flags travel as readings. Every episode has a start of its own, by the seed.

    Nothing moves between two commands, so stop() has nothing to do.
    """

    def __init__(self, name: str, layout: Layout, make: Callable[[], World], seed: int) -> None:
        """The environment is made by connect()."""
        self._layout, self._make, self._seed = layout, make, seed
        self._spec = RobotSpec(
            name=name,
            readings={**layout.observations, **SIGNALS, **layout.log},
            command=layout.command,
            control_hz=layout.control_hz,
        )
        self._low = np.array(layout.command.low, np.float32)
        self._high = np.array(layout.command.high, np.float32)
        self._rng = np.random.default_rng(seed)
        self._world: World | None = None
        self._outcome: Outcome | None = None  # None: an episode has to begin first
        self._begun = False  # whether an episode has just begun
        self._steps = 0
        # Most environments stand one thread at a time. stop(), which a watchdog calls, takes none.
        self._lock = threading.RLock()

    @property
    def spec(self) -> RobotSpec:
        """Readable before connect()."""
        return self._spec

    def connect(self) -> None:
        """Make the environment and begin its first episode. Raises RobotError."""
        with self._lock:
            if self._world is None:
                self._world = self._make()
                self._steps = 0
                try:
                    self._begin(fresh=True)
                except RobotError:
                    self.close()
                    raise

    def skip(self, steps: int) -> None:
        """Draw other episodes than a run did that began with the same seed `steps` steps ago."""
        with self._lock:
            if steps:
                self._rng = np.random.default_rng([self._seed, steps])

    def begin_episode(self) -> None:
        """Where an episode begins; nothing happens where it is there already."""
        with self._lock:
            self._connected()
            if not self._begun:
                self._begin(fresh=False)

    def reset(self, seed: int | None = None) -> None:
        """A new episode from scratch, clock at 0. `seed` starts the random numbers anew."""
        with self._lock:
            self._connected()
            if seed is not None:
                self._rng = np.random.default_rng(seed)
            self._steps = 0
            self._begin(fresh=True)

    def read(self) -> Reading:
        """Where the last command led to. Clock: simulated seconds, over all episodes."""
        with self._lock:
            self._connected()
            outcome = self._outcome
            assert outcome is not None
            values: dict[str, Array] = dict(outcome.obs)
            values["reward"] = np.array(outcome.reward, np.float32)
            values["is_last"] = np.array(outcome.is_last)
            values["is_terminal"] = np.array(outcome.is_terminal)
            values |= {key: np.array(x, np.float32) for key, x in outcome.log.items()}
            return Reading(self._steps / self._spec.control_hz, values)

    def command(self, target: FloatArray) -> FloatArray:
        """One control step under (A,) targets; returns them within limits.

        Raises RobotError, and lets no time pass, when a target is not finite or the episode over.
        """
        with self._lock:
            world = self._connected()
            sent = self._checked(target)
            if self._outcome is not None and self._outcome.is_last:
                raise RobotError(
                    f"{self._spec.name}: the episode is over; call begin_episode() first"
                )
            self._outcome = world.step(sent)
            self._begun = False
            self._steps += 1
            return sent

    def stop(self) -> None:
        """An environment is always at rest between two commands."""

    def close(self) -> None:
        """Free the environment. Any number of times; connect() makes a fresh one."""
        with self._lock:
            if self._world is not None:
                self._world.close()
                self._world = self._outcome = None

    def render(self, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
        """(height, width, 3) picture. Raises RobotError where none can be drawn, and says why."""
        with self._lock:
            return self._connected().render(width, height)

    def _begin(self, *, fresh: bool) -> None:
        seed = int(self._rng.integers(2**31))
        self._outcome = self._connected().begin(seed, fresh)
        self._begun = True

    def _checked(self, target: FloatArray) -> FloatArray:
        sent = np.array(target, np.float32)
        if sent.shape != self._low.shape:
            raise RobotError(f"the command has shape {sent.shape}: expected {self._low.shape}")
        if not np.isfinite(sent).all():
            names = zip(self._spec.command.names, sent, strict=True)
            bad = ", ".join(name for name, value in names if not np.isfinite(value))
            raise RobotError(
                f"the command for {bad} is not finite and was not sent. "
                "A policy that says NaN has bad weights or saw a bad observation."
            )
        sent = np.clip(sent, self._low, self._high)
        return np.rint(sent) if self._layout.action.kind == "discrete" else sent

    def _connected(self) -> World:
        if self._world is None:
            raise RobotError(f"{self._spec.name} is not connected: call connect() first")
        return self._world
