"""Builds rows from what happened and closes chunks by size or age.

The newest row of a running episode is held back until the next one arrives: whatever then goes
wrong (emergency stop, dead sensor, Ctrl-C), the episode can still be ended on it with is_last.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from daydreamer.wire.rows import SCRIPTED, Array, Chunk, Schema
from robots.base import Arrival, FloatArray


class Recorder:
    """One session's rows, in order. For the control thread: touches neither disk nor network."""

    def __init__(
        self,
        schema: Schema,
        *,
        run: str,
        actor: str,
        session: str,
        chunk_rows: int,
        chunk_age_s: float,
        send: Callable[[Chunk], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """chunk_age_s: how long a row may wait for its chunk to fill. send must not block."""
        self.sequence = -1  # of the last chunk sent
        self.rows = 0  # of this session, those in the open chunk included
        self._run, self._actor, self._session = run, actor, session
        self._chunk_rows, self._chunk_age_s = chunk_rows, chunk_age_s
        self._send = send
        self._now = now
        self._columns: dict[str, Array] = {
            name: np.zeros((chunk_rows + 1, *column.shape), column.dtype)
            for name, column in schema.items()
        }
        self._rows = 0  # in the open chunk
        self._opened_s = 0.0
        self._episode = -1
        self._first_row = 0  # of the open chunk, within its episode
        self._last_time_s = 0.0

    def begin(self, arrival: Arrival, time_s: float) -> None:
        """First row of an episode: no action led here, nothing was earned."""
        self.interrupt()
        self._episode += 1
        self._first_row = 0
        self._last_time_s = time_s
        action = np.zeros(self._columns["action"].shape[1:], np.float32)
        self._append(arrival, time_s, action, version=-1, who=SCRIPTED, first=True)

    def add(
        self, arrival: Arrival, time_s: float, action: FloatArray, version: int, who: int
    ) -> None:
        """The row that `action` (A,), as executed, led to."""
        self._append(arrival, time_s, action, version=version, who=who, first=False)
        if arrival.is_last:
            self._emit(self._rows)
        elif self._rows > self._chunk_rows:
            self._emit(self._rows - 1)
        else:
            self.send_old()

    def send_old(self) -> None:
        """Send the open chunk if its oldest row has waited long enough. add() does this too."""
        if self._rows and self._now() - self._opened_s >= self._chunk_age_s:
            self._emit(self._rows - 1)

    def interrupt(self) -> None:
        """End the running episode, if any, on its newest row: is_last, never is_terminal."""
        if self._rows:
            self._columns["is_last"][self._rows - 1] = True
            self._emit(self._rows)

    def flush(self) -> None:
        """Send what there is, but for the row held back."""
        self._emit(self._rows - 1)

    def _append(
        self,
        arrival: Arrival,
        time_s: float,
        action: FloatArray,
        *,
        version: int,
        who: int,
        first: bool,
    ) -> None:
        if not self._rows:
            self._opened_s = self._now()
        row, columns = self._rows, self._columns
        for name, value in arrival.obs.items():
            columns[name][row] = value
        for key, number in arrival.log.items():
            columns[f"log_{key}"][row] = number
        columns["action"][row] = action
        columns["reward"][row] = 0.0 if first else arrival.reward
        columns["is_first"][row] = first
        columns["is_last"][row] = arrival.is_last
        columns["is_terminal"][row] = arrival.is_terminal
        columns["time_s"][row] = time_s
        columns["dt_s"][row] = time_s - self._last_time_s
        columns["policy_version"][row] = version
        columns["actor"][row] = who
        self._last_time_s = time_s
        self._rows += 1
        self.rows += 1

    def _emit(self, rows: int) -> None:
        """Send the first `rows` of the open chunk; what is left opens the next one."""
        if rows <= 0:
            return
        self.sequence += 1
        sent = {name: column[:rows].copy() for name, column in self._columns.items()}
        self._send(
            Chunk(
                self._run,
                self._actor,
                self._session,
                self.sequence,
                self._episode,
                self._first_row,
                sent,
            )
        )
        left = self._rows - rows
        for column in self._columns.values():
            column[:left] = column[rows : rows + left]
        self._rows = left
        self._first_row += rows
        self._opened_s = self._now()
