"""Videos and contact sheets that OpenCV itself reads back."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from daydreamer.telemetry.video import VideoWriter, contact_sheet


def frame(red: int, height: int = 48, width: int = 64) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = red
    return image


def write(path: Path, frames: Iterable[np.ndarray], fps: float = 10) -> int:
    with VideoWriter(path, fps) as video:
        for one in frames:
            video.add(one)
    return video.frames


def test_a_video_holds_every_frame_in_its_colours(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "deep" / "video.mp4"
    assert write(path, [frame(200)] * 12, fps=20) == 12
    video = cv2.VideoCapture(str(path))
    images = []
    while (read := video.read())[0]:
        images.append(read[1])
    assert video.get(cv2.CAP_PROP_FPS) == 20
    video.release()
    assert len(images) == 12
    blue, _, red = images[0].reshape(-1, 3).mean(0)
    assert red > 150
    assert blue < 50
    assert [p.name for p in path.parent.iterdir()] == ["video.mp4"]


def test_odd_sizes_are_cut_to_even_ones(tmp_path: Path) -> None:
    import cv2

    write(tmp_path / "v.mp4", [frame(9, 49, 65)] * 2)
    video = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_HEIGHT), video.get(cv2.CAP_PROP_FRAME_WIDTH)) == (48, 64)
    video.release()


def test_a_video_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"frame 1 is"):
        write(tmp_path / "v.mp4", [frame(1), frame(1, 20, 20)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_a_frame_of_another_kind_is_refused(tmp_path: Path, bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
        write(tmp_path / "v.mp4", [bad])


def test_no_frames_make_no_video(tmp_path: Path) -> None:
    assert write(tmp_path / "v.mp4", []) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_contact_sheet_lays_evenly_spaced_frames_out(tmp_path: Path) -> None:
    import cv2

    frames = [frame(red) for red in range(0, 250, 10)]  # 25 frames
    path = tmp_path / "sheet.png"
    contact_sheet(path, frames, columns=3, limit=5)
    sheet = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert sheet.shape == (2 * 48 + 3 * 4, 3 * 64 + 4 * 4, 3)
    reds = [sheet[28, 36 + 68 * column, 0] for column in range(3)]
    assert reds == [0, 60, 120]  # frames 0, 6, 12 of 0..24
    contact_sheet(path, frames[:1], labels=["0.0 s"])
    assert cv2.imread(str(path)).shape == (48 + 8, 64 + 8, 3)
