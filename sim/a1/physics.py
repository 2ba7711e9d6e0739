"""The A1 in a PyBullet world of its own: torque PD at 500 Hz, measured states, no policy."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from robots.a1.rate import CONTROL_HZ
from robots.a1.spec import JOINTS, LEGS
from robots.base import RobotError
from sim.a1.config import A1TwinConfig
from sim.a1.urdf import a1_urdf
from sim.bullet import load_pybullet, quiet

Float64Array = NDArray[np.float64]
Vector = Sequence[float]

GRAVITY_M_S2: Final = 9.81


class A1State(NamedTuple):
    """One instant of the trunk's link frame and the joints, in the world's frame unless said."""

    position_m: Float64Array  # (3,) of the trunk's origin
    rotation: Float64Array  # (3, 3) world from trunk
    quaternion: Float64Array  # (4,) x, y, z, w: the same
    rpy_rad: Float64Array  # (3,)
    velocity_m_s: Float64Array  # (3,) of the trunk's origin
    gyro_rad_s: Float64Array  # (3,) in the trunk's frame
    joint_position_rad: Float64Array  # (12,)
    joint_velocity_rad_s: Float64Array  # (12,)
    foot_contact: NDArray[np.bool_]  # (4,)


class A1Physics:
    """One PyBullet client with a floor and an A1. Not safe for two threads at once."""

    def __init__(self, cfg: A1TwinConfig) -> None:
        """Load the world. Raises RobotError when pybullet is missing or has no room."""
        self._bullet = load_pybullet()
        self.substeps = round(1 / (CONTROL_HZ * cfg.physics_step_s))
        self._kp = cfg.kp_nm_rad
        self._kds = [cfg.kd_hip_nm_s_rad, cfg.kd_leg_nm_s_rad, cfg.kd_leg_nm_s_rad] * 4
        self._clip_rad = cfg.clip_rad if cfg.clip_rad > 0 else math.inf
        self._limit_nm = cfg.torque_limit_nm
        self.torque_nm = [0.0] * 12  # of the newest substep
        with quiet():
            self._client = self._bullet.connect(self._bullet.DIRECT)
            if self._client < 0:
                raise RobotError("PyBullet gives no physics client: close some of this process's")
            self._load(cfg)
        self._pristine = self.save()

    def close(self) -> None:
        """Free the world."""
        self._bullet.disconnect(physicsClientId=self._client)

    def _load(self, cfg: A1TwinConfig) -> None:
        bullet, client = self._bullet, self._client
        bullet.setPhysicsEngineParameter(
            fixedTimeStep=cfg.physics_step_s,
            numSolverIterations=cfg.solver_iterations,
            deterministicOverlappingPairs=1,
            physicsClientId=client,
        )
        bullet.setGravity(0, 0, -GRAVITY_M_S2, physicsClientId=client)
        plane = bullet.createCollisionShape(bullet.GEOM_PLANE, physicsClientId=client)
        self._floor = bullet.createMultiBody(0, plane, physicsClientId=client)
        self._body = load_a1(bullet, client)
        bullet.changeDynamics(
            self._floor, -1, lateralFriction=cfg.floor_friction, physicsClientId=client
        )

        by_name = {
            bullet.getJointInfo(self._body, i, physicsClientId=client)[1].decode(): i
            for i in range(bullet.getNumJoints(self._body, physicsClientId=client))
        }
        self._joints = [by_name[name] for name in JOINTS]
        self._feet = {by_name[f"{leg}_foot"]: i for i, leg in enumerate(LEGS)}
        for link in (-1, *by_name.values()):
            friction = cfg.foot_friction if link in self._feet else cfg.body_friction
            bullet.changeDynamics(
                self._body,
                link,
                lateralFriction=friction,
                linearDamping=0.0,  # Bullet's own 0.04 would act like thick air
                angularDamping=0.0,
                physicsClientId=client,
            )
        # Every joint starts with a velocity motor that holds it; torque control needs them free.
        bullet.setJointMotorControlArray(
            self._body,
            self._joints,
            bullet.VELOCITY_CONTROL,
            forces=[0.0] * 12,
            physicsClientId=client,
        )
        # Bullet speaks of the trunk's centre of mass; readings are about the trunk's origin.
        info = bullet.getDynamicsInfo(self._body, -1, physicsClientId=client)
        self._com_m = np.array(info[3])

    def place(self, position_m: Vector, rpy_rad: Vector, joint_rad: Vector) -> None:
        """Put the trunk's origin and the joints here, at rest, with no memory of past contacts."""
        bullet, client = self._bullet, self._client
        self.restore(self._pristine)
        quaternion = bullet.getQuaternionFromEuler(rpy_rad)
        rotation = np.array(bullet.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
        com_m = np.asarray(position_m) + rotation @ self._com_m
        bullet.resetBasePositionAndOrientation(
            self._body, com_m.tolist(), quaternion, physicsClientId=client
        )
        bullet.resetBaseVelocity(self._body, [0, 0, 0], [0, 0, 0], physicsClientId=client)
        bullet.resetJointStatesMultiDof(
            self._body,
            self._joints,
            [[angle] for angle in joint_rad],
            [[0.0]] * 12,
            physicsClientId=client,
        )
        self.torque_nm = [0.0] * 12

    def drive(self, goals_rad: Sequence[Sequence[float]], force_n: Vector | None = None) -> None:
        """One substep for each row of 12 goals, by torque PD; `force_n` pushes the trunk."""
        self._steps(goals_rad, self._kp, force_n)

    def damp(self, substeps: int) -> None:
        """Let the joints go, braked by the damping alone."""
        self._steps([[0.0] * 12] * substeps, 0.0, None)

    def _steps(
        self, goals_rad: Sequence[Sequence[float]], kp: float, force_n: Vector | None
    ) -> None:
        # The inner loop of every run: plain floats, for numpy costs more on twelve of them, and
        # array calls, for the bridge to C costs more than the arithmetic.
        body, client, joints = self._body, self._client, self._joints
        read, write = self._bullet.getJointStates, self._bullet.setJointMotorControlArray
        step, torque_control = self._bullet.stepSimulation, self._bullet.TORQUE_CONTROL
        clip, limit, kds = self._clip_rad, self._limit_nm, self._kds
        torques = self.torque_nm
        for goals in goals_rad:
            torques = []
            for state, goal, kd in zip(
                read(body, joints, physicsClientId=client), goals, kds, strict=True
            ):
                error = goal - state[0]
                if error > clip:
                    error = clip
                elif error < -clip:
                    error = -clip
                torque = kp * error - kd * state[1]
                if torque > limit:
                    torque = limit
                elif torque < -limit:
                    torque = -limit
                torques.append(torque)
            # Both last one step only.
            write(body, joints, torque_control, forces=torques, physicsClientId=client)
            if force_n is not None:
                self._push(force_n)
            step(physicsClientId=client)
        self.torque_nm = torques

    def _push(self, force_n: Vector) -> None:
        bullet = self._bullet
        at_m, _ = bullet.getBasePositionAndOrientation(self._body, physicsClientId=self._client)
        bullet.applyExternalForce(
            self._body, -1, force_n, at_m, bullet.WORLD_FRAME, physicsClientId=self._client
        )

    def joint_position_rad(self) -> Float64Array:
        """Measured angles (12,)."""
        states = self._bullet.getJointStates(self._body, self._joints, physicsClientId=self._client)
        return np.array([state[0] for state in states])

    def measure(self) -> A1State:
        """The state now. Raises RobotError when the simulation has blown up."""
        bullet, body, client = self._bullet, self._body, self._client
        com_m, quaternion = bullet.getBasePositionAndOrientation(body, physicsClientId=client)
        com_velocity, spin = bullet.getBaseVelocity(body, physicsClientId=client)
        joints = bullet.getJointStates(body, self._joints, physicsClientId=client)
        contact = np.zeros(4, np.bool_)
        for point in bullet.getContactPoints(body, self._floor, physicsClientId=client):
            foot = self._feet.get(point[3])
            if foot is not None:
                contact[foot] = True

        rotation = np.array(bullet.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
        spin = np.array(spin)
        arm_m = rotation @ self._com_m  # from the trunk's origin to its centre of mass
        velocity = np.array(com_velocity) - np.cross(spin, arm_m)
        position_rad = np.array([state[0] for state in joints])
        speed_rad_s = np.array([state[1] for state in joints])
        total = velocity.sum() + position_rad.sum() + speed_rad_s.sum() + sum(com_m)
        if not math.isfinite(total):
            raise RobotError(
                "the simulation has blown up (a state is not finite). Smaller gains or a smaller "
                "physics_step_s are stable; the defaults are known to be."
            )
        return A1State(
            position_m=np.array(com_m) - arm_m,
            rotation=rotation,
            quaternion=np.array(quaternion),
            rpy_rad=np.array(bullet.getEulerFromQuaternion(quaternion)),
            velocity_m_s=velocity,
            gyro_rad_s=rotation.T @ spin,
            joint_position_rad=position_rad,
            joint_velocity_rad_s=speed_rad_s,
            foot_contact=contact,
        )

    def save(self) -> int:
        """Keep the whole state in Bullet's memory, contacts included; returns its number."""
        state: int = self._bullet.saveState(physicsClientId=self._client)
        return state

    def restore(self, state: int) -> None:
        """Go back to a saved state. What follows is bitwise what followed the first time."""
        self._bullet.restoreState(stateId=state, physicsClientId=self._client)

    def forget(self, state: int) -> None:
        """Free a saved state."""
        if self._bullet.isConnected(self._client):
            self._bullet.removeState(state, physicsClientId=self._client)


def load_a1(bullet: Any, client: int) -> int:
    """Load our own URDF with the inertia it states; returns the body's number."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a1.urdf"
        path.write_text(a1_urdf(), encoding="utf-8")
        try:
            body: int = bullet.loadURDF(
                str(path), flags=bullet.URDF_USE_INERTIA_FROM_FILE, physicsClientId=client
            )
        except bullet.error as error:
            raise RobotError(f"PyBullet cannot load the A1 from {path}: {error}") from error
    return body
