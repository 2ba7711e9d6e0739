"""Filming a twin, one picture a control step."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from daydreamer.telemetry.video import Frame, VideoWriter, caption

FRAME_SIZE = (480, 360)  # width, height
STILL_SIZE = (320, 240)
STILL_EVERY = 10  # control steps between two pictures kept for the contact sheet


@runtime_checkable
class Twin(Protocol):
    """What a twin has beyond robots.base.Robot."""

    def connect(self) -> None:
        """Build the world."""

    def reset(self, seed: int | None = None) -> None:
        """Back to the start pose, clock at 0."""

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB picture. Raises RobotError where none can be drawn."""


class Film:
    """Pictures of one episode: all go into the video, some are kept as stills."""

    def __init__(self, twin: Twin, video: VideoWriter, title: str, period_s: float) -> None:
        self.stills: list[Frame] = []
        self.labels: list[str] = []  # one for each still
        self._twin, self._video, self._title, self._period_s = twin, video, title, period_s
        self._steps = 0

    def add(self, reward: float) -> None:
        """Take a picture of what a control step led to."""
        import cv2

        self._steps += 1
        frame = np.array(self._twin.render(*FRAME_SIZE), np.uint8)
        when = f"{self._title}, {self._steps * self._period_s:.1f} s"
        if self._steps % STILL_EVERY == 1:
            still = cv2.resize(frame, STILL_SIZE, interpolation=cv2.INTER_AREA)
            self.stills.append(np.asarray(still, np.uint8))
            self.labels.append(when)
        caption(frame, f"{when}, reward {reward:.1f}")
        self._video.add(frame)
