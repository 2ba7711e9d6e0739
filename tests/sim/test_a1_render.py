"""Pictures of the twin: readable, repeatable, and without effect on the physics."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from sim.a1.config import A1TwinConfig
from sim.a1.twin import A1Twin

pytest.importorskip("pybullet", reason="twins need PyBullet, whose wheels end at Python 3.11")


@pytest.fixture
def twin() -> Iterator[A1Twin]:
    twin = A1TwinConfig(start="standing").build()
    twin.connect()
    yield twin
    twin.close()


def command(value: float) -> np.ndarray:
    return np.tile(np.array([0.0, value, -1.8], np.float32), 4)


def test_picture_has_the_size_asked_for(twin: A1Twin) -> None:
    picture = twin.render()
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8
    assert twin.render(64, 48).shape == (48, 64, 3)


def test_picture_shows_floor_robot_and_feet(twin: A1Twin) -> None:
    picture = twin.render().astype(int)
    red, green, blue = np.moveaxis(picture, -1, 0)
    assert ((red - green) > 60).sum() > 50  # feet and nose
    assert ((blue - red) > 60).sum() > 50  # the box on the back
    background = (picture.min(-1) > 250).mean()
    assert background < 0.5


def test_robot_stays_in_the_middle_while_the_floor_moves(twin: A1Twin) -> None:
    before = twin.render().astype(int)
    for _ in range(10):
        twin.command(command(1.3))
    after = twin.render().astype(int)
    assert (np.abs(before - after).max(-1) > 20).mean() > 0.02
    for picture in (before, after):
        rows, columns = np.nonzero(picture[..., 2] - picture[..., 0] > 60)
        assert 60 < columns.mean() < 260
        assert 20 < rows.mean() < 220


def test_drawing_twice_gives_the_same_picture(twin: A1Twin) -> None:
    np.testing.assert_array_equal(twin.render(), twin.render())


def test_drawing_does_not_disturb_the_physics(twin: A1Twin) -> None:
    snapshot = twin.snapshot()
    ends = []
    for draw in (False, True):
        twin.restore(snapshot)
        for step in range(10):
            twin.command(command(0.5 + 0.1 * step))
            if draw:
                twin.render(32, 24)
        ends.append(twin.read().values["joint_position_rad"])
    np.testing.assert_array_equal(*ends)


def test_senseless_size_is_refused(twin: A1Twin) -> None:
    with pytest.raises(ValueError, match="0 x 240"):
        twin.render(0, 240)


def test_a_closed_twin_draws_again_after_connect(twin: A1Twin) -> None:
    first = twin.render()
    twin.close()
    twin.connect()
    np.testing.assert_array_equal(twin.render(), first)
