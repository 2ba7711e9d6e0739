"""Where a live status goes: an area that is redrawn on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

log = logging.getLogger(__name__)


class Screen:
    """Never raises because of its terminal: once nobody reads it (a broken pipe), it is silent."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._live: Live | None = None
        self.is_silent = False
        if _is_terminal(self._stream):
            from daydreamer.telemetry.table import open_live

            with self._forgiving():
                self._live = open_live(self._stream)

    @property
    def is_live(self) -> bool:
        """Whether draw() can be seen (a terminal, no NO_COLOR)."""
        return self._live is not None

    def draw(self, area: RenderableType) -> None:
        """Redraw the live area; nothing happens where there is none."""
        if self._live is not None:
            with self._forgiving():
                self._live.update(area, refresh=True)

    def say(self, text: str) -> None:
        """One line that stays, above the live area where there is one."""
        if self.is_silent:
            return
        with self._forgiving():
            if self._live is not None:
                self._live.console.print(text, markup=False, highlight=False)
            else:
                encoding = self._stream.encoding or "utf-8"
                self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
                self._stream.flush()

    def close(self) -> None:
        """Leave the terminal as it was. Any number of times."""
        if self._live is not None:
            with self._forgiving():
                self._live.stop()
            self._live = None
        self.is_silent = True

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            log.info("nobody reads the display any more; the run goes on without it")
            self._fall_silent()
        except OSError as error:  # a full disk under a redirected output, a terminal that hung up
            log.debug("status not shown: %s", error)

    def _fall_silent(self) -> None:
        self.is_silent = True
        # What is left in the stream's buffer would raise once more when Python exits.
        with contextlib.suppress(OSError):
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, self._stream.fileno())
            os.close(sink)
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None


def _is_terminal(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # The area is drawn with block characters, which other encodings cannot show.
    return stream.isatty() and (stream.encoding or "").lower().startswith("utf")
