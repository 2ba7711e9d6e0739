"""Pictures of the A1 twin, for people: an eval video, not an observation."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robots.a1.spec import JOINTS
from robots.base import RobotError
from sim.a1.physics import A1State, load_a1
from sim.bullet import load_pybullet, quiet

_TILE_M: Final = 0.25
_TILES: Final = 24  # along each side; even, so that the pattern repeats when the floor is moved
_LIGHT_RGBA: Final = (0.80, 0.83, 0.86, 1.0)
_DARK_RGBA: Final = (0.52, 0.58, 0.64, 1.0)
_LOOK_AT_Z_M: Final = 0.15


class Camera:
    """Follows the robot at a fixed bearing, over a checkered floor that shows how it moves.

    It draws in a Bullet client of its own: a picture cannot disturb the physics.
    """

    def __init__(self) -> None:
        """Load the scene."""
        self._bullet = load_pybullet()
        with quiet():
            self._client = self._bullet.connect(self._bullet.DIRECT)
            if self._client < 0:
                raise RobotError(
                    "PyBullet gives no client to draw in: close some of this process's"
                )
            self._body = load_a1(self._bullet, self._client)
            self._floors = [
                self._tiles(parity, rgba) for parity, rgba in enumerate((_LIGHT_RGBA, _DARK_RGBA))
            ]
        bullet, client = self._bullet, self._client
        by_name = {
            bullet.getJointInfo(self._body, i, physicsClientId=client)[1].decode(): i
            for i in range(bullet.getNumJoints(self._body, physicsClientId=client))
        }
        self._joints = [by_name[name] for name in JOINTS]
        self._com_m = np.array(bullet.getDynamicsInfo(self._body, -1, physicsClientId=client)[3])

    def render(self, state: A1State, width: int, height: int) -> NDArray[np.uint8]:
        """(height, width, 3) picture of the robot in `state`."""
        if not (0 < width <= 4096 and 0 < height <= 4096):
            raise ValueError(
                f"a picture of {width} x {height}: each side within [1, 4096] expected"
            )
        bullet, client = self._bullet, self._client
        self._pose(state)
        x, y, _ = state.position_m.tolist()
        view = bullet.computeViewMatrixFromYawPitchRoll(
            (x, y, _LOOK_AT_Z_M), 1.1, 35.0, -22.0, 0.0, 2, physicsClientId=client
        )
        projection = bullet.computeProjectionMatrixFOV(
            48.0, width / height, 0.05, 20.0, physicsClientId=client
        )
        _, _, rgba, _, _ = bullet.getCameraImage(
            width,
            height,
            view,
            projection,
            lightDirection=(0.5, -0.6, 1.5),
            lightColor=(1.0, 1.0, 1.0),
            lightAmbientCoeff=0.55,
            lightDiffuseCoeff=0.45,
            lightSpecularCoeff=0.05,
            shadow=0,  # half the time, and a small picture gets moiré from shadows
            renderer=bullet.ER_TINY_RENDERER,
            flags=bullet.ER_NO_SEGMENTATION_MASK,
            physicsClientId=client,
        )
        picture = np.asarray(rgba, np.uint8).reshape(height, width, 4)[..., :3]
        return np.ascontiguousarray(picture)

    def close(self) -> None:
        """Free the scene."""
        self._bullet.disconnect(physicsClientId=self._client)

    def _pose(self, state: A1State) -> None:
        bullet, client = self._bullet, self._client
        com_m = state.position_m + state.rotation @ self._com_m
        bullet.resetBasePositionAndOrientation(
            self._body, com_m.tolist(), state.quaternion.tolist(), physicsClientId=client
        )
        bullet.resetJointStatesMultiDof(
            self._body,
            self._joints,
            [[angle] for angle in state.joint_position_rad.tolist()],
            physicsClientId=client,
        )
        # The floor has an end, so it comes along, in whole periods of its pattern.
        period_m = 2 * _TILE_M
        at_m = [period_m * round(float(c) / period_m) for c in state.position_m[:2]] + [0.0]
        for floor in self._floors:
            bullet.resetBasePositionAndOrientation(
                floor, at_m, (0, 0, 0, 1), physicsClientId=client
            )

    def _tiles(self, parity: int, rgba: tuple[float, ...]) -> Any:
        """A body of every second square of the checkerboard; seen, not touched."""
        vertices: list[tuple[float, float, float]] = []
        indices: list[int] = []
        for row in range(_TILES):
            for column in range(_TILES):
                if (row + column) % 2 != parity:
                    continue
                x, y = (column - _TILES / 2) * _TILE_M, (row - _TILES / 2) * _TILE_M
                first = len(vertices)
                vertices += [(x, y, 0.0), (x + _TILE_M, y, 0.0)]
                vertices += [(x + _TILE_M, y + _TILE_M, 0.0), (x, y + _TILE_M, 0.0)]
                indices += [first, first + 1, first + 2, first, first + 2, first + 3]
        shape = self._bullet.createVisualShape(
            self._bullet.GEOM_MESH,
            vertices=vertices,
            indices=indices,
            normals=[(0.0, 0.0, 1.0)] * len(vertices),
            rgbaColor=rgba,
            physicsClientId=self._client,
        )
        return self._bullet.createMultiBody(
            0, baseVisualShapeIndex=shape, physicsClientId=self._client
        )
