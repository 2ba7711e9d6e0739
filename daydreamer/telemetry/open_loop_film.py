"""Film of open-loop predictions: truth, model and error beneath one another, windows side by side.

        window 1   window 2   ...
truth     [ ]        [ ]            green frame: the model sees this row
model     [ ]        [ ]            no frame: it dreams, with the recorded actions
error     [ ]        [ ]            grey is right; brighter: the model is too bright there
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daydreamer.telemetry.video import Frame, VideoWriter, caption, contact_sheet

Images = NDArray[np.float32]  # (M, T, H, W, C) in [0, 1]

TILE = 128  # pixels a side
GAP, MARGIN, HEAD = 4, 64, 24  # between tiles, left of them, above them
SEEN, INK = (0, 158, 115), (34, 34, 34)
ROWS = ("truth", "model", "error")
SLOWEST, FASTEST = 4.0, 20.0  # frames a second that an eye can follow
SHEET = 8  # frames


def film(
    path: Path,
    truth: Mapping[str, Images],
    model: Mapping[str, Images],
    lengths: Sequence[int],
    *,
    context: int,
    fps: float,
) -> None:
    """Write path and <stem>_sheet.png. lengths (M,): rows of each window; behind them it is grey.

    fps: of the recording; it is shown at a rate that an eye can follow.
    """
    frames = [draw(truth, model, lengths, t, context) for t in range(max(lengths))]
    with VideoWriter(path, min(max(fps, SLOWEST), FASTEST)) as video:
        for frame in frames:
            video.add(frame)
    chosen = _sheet_rows(len(frames), context)
    contact_sheet(
        path.with_name(f"{path.stem}_sheet.png"),
        [frames[t] for t in chosen],
        columns=2,
        limit=SHEET,
    )


def draw(
    truth: Mapping[str, Images],
    model: Mapping[str, Images],
    lengths: Sequence[int],
    t: int,
    context: int,
) -> Frame:
    """The picture of row t."""
    columns = [(key, window) for key in truth for window in range(len(lengths))]
    height = HEAD + len(ROWS) * (TILE + GAP)
    frame: Frame = np.full((height, MARGIN + len(columns) * (TILE + GAP), 3), 255, np.uint8)
    for row, name in enumerate(ROWS):
        _write(frame, name, (6, HEAD + row * (TILE + GAP) + TILE // 2))
    when = f"seen, row {t + 1} of {context}" if t < context else f"dreamed, step {t - context + 1}"
    _write(frame, when, (MARGIN, HEAD - 8))
    for column, (key, window) in enumerate(columns):
        left = MARGIN + column * (TILE + GAP)
        if t >= lengths[window]:
            frame[HEAD : height - GAP, left : left + TILE] = 224
            continue
        real, guess = truth[key][window, t], model[key][window, t]
        for row, picture in enumerate((real, guess, (guess - real + 1) / 2)):
            top = HEAD + row * (TILE + GAP)
            tile = _tile(picture)
            if t < context and row < 2:
                for side in (tile[:3], tile[-3:], tile[:, :3], tile[:, -3:]):
                    side[:] = SEEN
            if row == 0 and len(truth) > 1:
                caption(tile, key)
            frame[top : top + TILE, left : left + TILE] = tile
    return frame


def _tile(picture: NDArray[np.float32]) -> Frame:
    """(H, W, C) in [0, 1] -> (TILE, TILE, 3). One channel is grey; of others than 3, the last.

    What is no number is black.
    """
    import cv2

    rgb = picture if picture.shape[-1] == 3 else np.repeat(picture[..., -1:], 3, -1)
    pixels = (255 * np.nan_to_num(rgb).clip(0, 1)).round().astype(np.uint8)
    large: Any = cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.uint8)


def _write(frame: Frame, text: str, where: tuple[int, int]) -> None:
    import cv2

    cv2.putText(frame, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)


def _sheet_rows(frames: int, context: int) -> list[int]:
    """The last row seen, then rows at growing distance from it."""
    steps = np.geomspace(1, max(1, frames - context), SHEET - 1).round().astype(int)
    rows = {min(context - 1, frames - 1), *(context - 1 + steps).tolist()}
    return sorted(row for row in rows if row < frames)
