"""The A1 twin: robots.base.Robot over PyBullet. It steps as fast as it is asked to."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robots.a1.rate import CONTROL_HZ
from robots.a1.spec import JOINT_HIGH_RAD, JOINT_LOW_RAD, JOINTS, a1_spec
from robots.base import FloatArray, Reading, RobotError, RobotSpec
from robots.low_pass import LowPass, LowPassState
from sim.a1.camera import Camera
from sim.a1.config import A1TwinConfig
from sim.a1.physics import A1Physics, A1State
from sim.a1.pushes import PushSchedule, PushState
from sim.a1.starts import draw_start

Float64Array = NDArray[np.float64]

_PERIOD_S: Final = 1 / CONTROL_HZ
_STOP_S: Final = 1.0  # how long a fall takes, from standing to rest


@dataclass(frozen=True, eq=False)
class A1Snapshot:
    """A twin's whole state. Belongs to the twin (and the connection) that made it."""

    physics: A1Physics
    bullet_state: int
    ticks: int
    goal_rad: Float64Array | None
    low_pass: LowPassState
    push: PushState
    torque_nm: tuple[float, ...]
    rng: dict[str, Any]
    state: A1State


class A1Twin:
    """An A1 that lies, stands or falls at the start, and is never reset by itself afterwards.

    The inner loop of the real robot is part of the twin: low-pass over the targets, linear
    interpolation between two of them, ±0.2 rad clip about the measured angle, PD, torque limit.
    """

    def __init__(self, cfg: A1TwinConfig) -> None:
        """Nothing is loaded before connect()."""
        self._cfg = cfg
        self._spec = a1_spec("a1_twin")
        self._rng = np.random.default_rng(cfg.seed)
        self._low_pass = LowPass(cut_hz=cfg.filter_hz or 1.0, rate_hz=CONTROL_HZ, size=12)
        self._pushes = PushSchedule(cfg.push, cfg.physics_step_s)
        self._physics: A1Physics | None = None
        self._camera: Camera | None = None
        self._state: A1State | None = None
        self._goal_rad: Float64Array | None = None  # where the interpolation has got to; None: limp
        self._ticks = 0  # physics steps since the start
        # The watchdog stops the body from its own thread, and a Bullet client stands only one.
        self._lock = threading.RLock()

    @property
    def spec(self) -> RobotSpec:
        """Readable before connect()."""
        return self._spec

    def connect(self) -> None:
        """Load the world and put the robot at its start. Raises RobotError without pybullet."""
        with self._lock:
            if self._physics is None:
                self._physics = A1Physics(self._cfg)
                self.reset()

    def reset(self, seed: int | None = None) -> None:
        """A new start, by hand as it were; clock at 0. `seed` starts the random numbers anew."""
        with self._lock:
            physics = self._connected()
            if seed is not None:
                self._rng = np.random.default_rng(seed)
            start = draw_start(self._cfg.start, self._rng)
            physics.place(start.position_m, start.rpy_rad, start.joint_rad)
            physics.drive([start.joint_rad] * round(start.settle_s / self._cfg.physics_step_s))
            self._ticks = 0
            self._pushes.restart()
            self._goal_rad = None
            self._state = physics.measure()

    def read(self) -> Reading:
        """Where the last command led to. Clock: simulated seconds since the start."""
        with self._lock:
            physics = self._connected()
            state = self._state
            assert state is not None
            return Reading(
                time_s=self._ticks * self._cfg.physics_step_s,
                values={
                    "joint_position_rad": state.joint_position_rad.astype(np.float32),
                    "joint_velocity_rad_s": state.joint_velocity_rad_s.astype(np.float32),
                    "joint_torque_nm": np.array(physics.torque_nm, np.float32),
                    "rpy_rad": state.rpy_rad.astype(np.float32),
                    "gyro_rad_s": state.gyro_rad_s.astype(np.float32),
                    "base_velocity_m_s": state.velocity_m_s.astype(np.float32),
                    "rotation": state.rotation.astype(np.float32),
                    "foot_contact": state.foot_contact.copy(),
                },
            )

    def command(self, target: FloatArray) -> FloatArray:
        """Pursue (12,) joint targets in rad for one control period; returns them within limits.

        Raises RobotError, and lets no time pass, when a target is not finite.
        """
        with self._lock:
            physics = self._connected()
            goal = self._checked(target)
            if self._goal_rad is None:  # as on the robot: motion starts from where the joints are
                self._goal_rad = physics.joint_position_rad()
                self._low_pass.fill(self._goal_rad)
            smooth = self._low_pass.step(goal) if self._cfg.filter_hz > 0 else goal
            # The filter overshoots by 5 %: the limits hold for what comes out of it as well.
            smooth = np.minimum(np.maximum(smooth, JOINT_LOW_RAD), JOINT_HIGH_RAD)
            part = np.arange(1, physics.substeps + 1)[:, None] / physics.substeps
            goals = (self._goal_rad + part * (smooth - self._goal_rad)).tolist()
            done = 0
            for length, force_n in self._pushes.split(physics.substeps, self._rng):
                physics.drive(goals[done : done + length], force_n)
                done += length
            self._goal_rad = smooth
            self._ticks += physics.substeps
            self._state = physics.measure()
            return goal.astype(np.float32)

    def _checked(self, target: FloatArray) -> Float64Array:
        """Targets within the limits; what is no set of twelve numbers is refused."""
        goal = np.asarray(target, np.float64)
        if goal.shape != (12,):
            raise RobotError(f"the command has shape {goal.shape}: expected (12,) targets in rad")
        if not np.isfinite(goal).all():
            bad = [name for name, angle in zip(JOINTS, goal, strict=True) if not np.isfinite(angle)]
            raise RobotError(
                f"the command for {', '.join(bad)} is not finite and was not sent. "
                "A policy that says NaN has bad weights or saw a bad observation."
            )
        within: Float64Array = np.minimum(np.maximum(goal, JOINT_LOW_RAD), JOINT_HIGH_RAD)
        return within

    def stop(self) -> None:
        """Let the legs go, damped, and let them come to rest. Any state, any number of times."""
        with self._lock:
            if self._physics is None or self._goal_rad is None:
                return
            self._goal_rad = None
            for _ in range(round(_STOP_S / _PERIOD_S)):
                self._physics.damp(self._physics.substeps)
                self._ticks += self._physics.substeps
            self._state = self._physics.measure()

    def close(self) -> None:
        """Free the world. Any number of times; connect() makes a fresh one."""
        with self._lock:
            if self._physics is not None:
                self._physics.close()
                if self._camera is not None:
                    self._camera.close()
                self._camera = self._physics = self._state = self._goal_rad = None

    def render(self, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
        """(height, width, 3) picture from a camera that follows the robot."""
        with self._lock:
            self._connected()
            assert self._state is not None
            if self._camera is None:
                self._camera = Camera()
            return self._camera.render(self._state, width, height)

    @property
    def position_m(self) -> Float64Array:
        """(3,) of the trunk's origin in the world: known to a twin only, so not a reading."""
        with self._lock:
            self._connected()
            assert self._state is not None
            return self._state.position_m

    def snapshot(self) -> A1Snapshot:
        """Everything that the future depends on: physics, filter, interpolation, clock, RNG."""
        with self._lock:
            physics = self._connected()
            assert self._state is not None
            snapshot = A1Snapshot(
                physics=physics,
                bullet_state=physics.save(),
                ticks=self._ticks,
                goal_rad=self._goal_rad,
                low_pass=self._low_pass.state,
                push=self._pushes.state,
                torque_nm=tuple(physics.torque_nm),
                rng=dict(self._rng.bit_generator.state),
                state=self._state,
            )
            weakref.finalize(snapshot, physics.forget, snapshot.bullet_state)
            return snapshot

    def restore(self, snapshot: A1Snapshot) -> None:
        """Go back; the same commands then give bitwise the same readings."""
        with self._lock:
            physics = self._connected()
            if snapshot.physics is not physics:
                raise RobotError("this snapshot was made by another twin, or before a close()")
            physics.restore(snapshot.bullet_state)
            physics.torque_nm = list(snapshot.torque_nm)
            self._ticks = snapshot.ticks
            self._goal_rad = snapshot.goal_rad
            self._low_pass.state = snapshot.low_pass
            self._pushes.state = snapshot.push
            self._rng.bit_generator.state = snapshot.rng
            self._state = snapshot.state

    def _connected(self) -> A1Physics:
        if self._physics is None:
            raise RobotError("the A1 twin is not connected: call connect() first")
        return self._physics
