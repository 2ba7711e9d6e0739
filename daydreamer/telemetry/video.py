"""Videos and contact sheets from RGB frames, by OpenCV. Each file is complete or absent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # (H, W, 3) RGB


class VideoWriter:
    """Streams frames into an mp4 file, which appears when it is closed; no frames, no file."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path = Path(path)
        self.frames = 0
        self._fps = fps
        self._partial = self.path.with_name(f".{self.path.stem}.part.mp4")
        self._writer: Any = None
        self._shape: tuple[int, ...] = ()

    def add(self, frame: Frame) -> None:
        """Append (H, W, 3) uint8 RGB; every frame has the first one's shape."""
        import cv2

        _check(frame, self.path)
        if self._writer is None:
            self._open(frame)
        if frame.shape != self._shape:
            raise ValueError(
                f"{self.path}: frame {self.frames} is {frame.shape}, not {self._shape}"
            )
        self._writer.write(cv2.cvtColor(_even(frame), cv2.COLOR_RGB2BGR))
        self.frames += 1

    def _open(self, frame: Frame) -> None:
        import cv2

        self.path.parent.mkdir(parents=True, exist_ok=True)
        height, width = _even(frame).shape[:2]
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._partial), code, self._fps, (width, height))
        if not self._writer.isOpened():
            raise OSError(
                f"OpenCV cannot write {self.path}: is the folder writable, the disk full?"
            )
        self._shape = frame.shape

    def close(self, *, keep: bool = True) -> None:
        """Finish the file; keep=False discards it. Any number of times."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        if keep:
            self._partial.replace(self.path)
        else:
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(keep=kind is None)


def contact_sheet(
    path: Path,
    frames: Sequence[Frame],
    labels: Sequence[str] = (),
    columns: int = 4,
    limit: int = 16,
) -> None:
    """Lay up to `limit` evenly spaced frames out in a grid. labels: one per frame, or none."""
    import cv2

    if not frames:
        raise ValueError(f"{path}: no frames, so no contact sheet was written")
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(limit, len(frames))).round().astype(int))
    columns = min(columns, len(chosen))
    height, width = frames[0].shape[:2]
    gap = 4
    rows = math.ceil(len(chosen) / columns)
    shape = (rows * (height + gap) + gap, columns * (width + gap) + gap, 3)
    sheet: Frame = np.full(shape, 255, np.uint8)
    for place, index in enumerate(chosen):
        _check(frames[index], path)
        top = gap + (place // columns) * (height + gap)
        left = gap + (place % columns) * (width + gap)
        tile = frames[index].copy()
        if labels:
            caption(tile, labels[index])
        sheet[top : top + height, left : left + width] = tile
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"OpenCV cannot encode {path}")
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data.tobytes())
    partial.replace(path)


def caption(tile: Frame, text: str) -> None:
    """Write text in the tile's lower left corner: white on a dark strip, readable on anything."""
    import cv2

    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.5
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    bottom = tile.shape[0] - 1
    tile[bottom - height - below - 4 :, : width + 12] //= 4
    where = (6, bottom - below - 1)
    cv2.putText(tile, text, where, font, scale, (255, 255, 255), 1, cv2.LINE_AA)


def _even(frame: Frame) -> Frame:
    """Cut odd sizes by one pixel: mp4 players expect even ones."""
    return frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]


def _check(frame: Frame, path: Path) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(
            f"{path}: expected (H, W, 3) uint8 frames, found {frame.shape} {frame.dtype}"
        )
