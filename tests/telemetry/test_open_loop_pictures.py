"""Film and picture of open-loop predictions, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from daydreamer.telemetry.open_loop_film import GAP, HEAD, MARGIN, SEEN, TILE, draw, film
from daydreamer.telemetry.open_loop_plot import plot

CONTEXT = 2


def images(value: float, windows: int = 2, rows: int = 6, channels: int = 3) -> np.ndarray:
    return np.full((windows, rows, 64, 64, channels), value, np.float32)


def middle(frame: np.ndarray, row: int, column: int) -> list[int]:
    top, left = HEAD + row * (TILE + GAP), MARGIN + column * (TILE + GAP)
    return frame[top + TILE // 2, left + TILE // 2].tolist()


def test_truth_model_and_error_lie_beneath_one_another() -> None:
    frame = draw({"rgb": images(0.2)}, {"rgb": images(0.8)}, [6, 6], 3, CONTEXT)
    assert middle(frame, 0, 0) == [51] * 3
    assert middle(frame, 1, 0) == [204] * 3
    assert middle(frame, 2, 1) == [204] * 3  # (0.8 - 0.2 + 1) / 2: too bright
    assert frame.shape == (HEAD + 3 * (TILE + GAP), MARGIN + 2 * (TILE + GAP), 3)


def test_rows_that_the_model_sees_are_framed_and_no_others() -> None:
    for t, framed in ((1, True), (2, False)):
        frame = draw({"rgb": images(0.2)}, {"rgb": images(0.2)}, [6, 6], t, CONTEXT)
        assert (frame[HEAD, MARGIN + 5].tolist() == list(SEEN)) is framed


def test_a_window_that_is_over_is_grey() -> None:
    frame = draw({"rgb": images(0.2)}, {"rgb": images(0.2)}, [6, 3], 4, CONTEXT)
    assert middle(frame, 0, 0) == [51] * 3
    assert middle(frame, 0, 1) == [224] * 3


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_film_has_a_frame_a_row_and_a_sheet(tmp_path: Path, channels: int) -> None:
    import cv2

    truth = {"left": images(0.2, channels=channels), "right": images(0.5, channels=channels)}
    film(tmp_path / "open_loop.mp4", truth, truth, [6, 5], context=CONTEXT, fps=10)
    video = cv2.VideoCapture(str(tmp_path / "open_loop.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) == MARGIN + 4 * (TILE + GAP)
    video.release()
    assert cv2.imread(str(tmp_path / "open_loop_sheet.png")) is not None


@pytest.mark.parametrize("numbers", [(), (3,), (40,)])
def test_lines_are_drawn_of_whatever_is_observed(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    import cv2

    rng = np.random.default_rng(0)
    shape = (2, 8, *numbers)
    truth = {"pose": rng.normal(size=shape), "rgb": images(0.2, 2, 8), "reward": np.ones((2, 8))}
    dreams = {key: np.stack([x, x + 0.1]) for key, x in truth.items()}
    spread = {"pose": 1.0, "rgb": 0.1, "reward": 0.0}  # a reward that never moved
    plot(
        tmp_path / "open_loop.png", truth, dreams, [8, 6], spread,
        images={"rgb"}, context=CONTEXT, title="open loop",
    )  # fmt: skip
    picture = cv2.imread(str(tmp_path / "open_loop.png"))
    assert picture is not None
    assert picture.shape[0] > 300
    assert [path.name for path in tmp_path.iterdir()] == ["open_loop.png"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_a_dream_that_leaves_all_bounds_is_drawn_as_far_as_it_can_be(
    tmp_path: Path, value: float
) -> None:
    truth = {
        "pose": np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32),
        "rgb": images(0.2, 2, 8),
        "reward": np.ones((2, 8), np.float32),
    }
    dreams = {key: np.stack([x, x]) for key, x in truth.items()}
    for dream in dreams.values():
        dream[:, 0, 4:] = value
    plot(
        tmp_path / "open_loop.png", truth, dreams, [8, 6],
        {"pose": 1.0, "rgb": 0.1, "reward": 0.5},
        images={"rgb"}, context=CONTEXT, title="open loop",
    )  # fmt: skip
    assert (tmp_path / "open_loop.png").stat().st_size > 5000
    frame = draw({"rgb": truth["rgb"]}, {"rgb": dreams["rgb"][0]}, [8, 8], 5, CONTEXT)
    assert middle(frame, 1, 0) == [0 if np.isnan(value) else 255] * 3


def test_a_robot_that_has_images_alone_gets_its_reward_and_errors_drawn(tmp_path: Path) -> None:
    truth = {"rgb": images(0.2, 2, 8), "reward": np.ones((2, 8), np.float32)}
    dreams = {key: x[None] for key, x in truth.items()}
    plot(
        tmp_path / "open_loop.png", truth, dreams, [8, 8], {"rgb": 0.1, "reward": 1.0},
        images={"rgb"}, context=CONTEXT, title="open loop",
    )  # fmt: skip
    assert (tmp_path / "open_loop.png").stat().st_size > 5000
