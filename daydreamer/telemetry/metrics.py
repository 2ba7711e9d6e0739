"""Metrics of one process: one JSON object a line, and the learner's as TensorBoard events too.

    {"time": 1767225600.1, "step": 400, "actor/steps_per_s": 19.9, "session": "5f0c"}

RUN/learner/metrics.jsonl      step = updates; keys model/, actor/, critic/, learner/
RUN/actor-<id>/metrics.jsonl   step = control steps; a line every few seconds with keys actor/, and
                               one line per finished episode with keys episode/ and log_* means

Counters (actor/control_steps, actor/robot_seconds, actor/late_steps, actor/safety_events) count
from the start of the session named by the tag "session"; summaries add the sessions up. A line
without that tag belongs to a session which ends where a counter falls.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, SupportsFloat

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

log = logging.getLogger(__name__)

Line = dict[str, Any]
RESERVED = ("time", "step")


class MetricsError(ValueError):
    """A metrics file is damaged. Says which file and line, and what to do."""


class MetricsLog:
    """Appends metrics; never stops a run: a full disk loses lines, is said once and counted.

    One write call a line, unbuffered: after `kill -9` at most the last line is torn, and opening
    the file again removes it. write() touches the disk, so a control thread must not call it.
    """

    def __init__(
        self,
        path: Path,
        tensorboard_dir: Path | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self.dropped = 0  # lines lost to a full or failing disk
        self._now = now
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        _mend_tail(self._fd, self.path)
        self._events = None if tensorboard_dir is None else _open_events(Path(tensorboard_dir))

    def write(self, step: int, values: Mapping[str, SupportsFloat], **tags: str | float) -> None:
        """Append one line. values: anything float() takes; NaN and infinities become null."""
        clash = [key for key in (*values, *tags) if key in RESERVED]
        if clash:
            raise ValueError(
                f"metric {clash[0]!r} would hide the line's own {clash[0]!r}; rename it"
            )
        when = self._now()
        floats = {key: float(value) for key, value in values.items()}
        line: Line = {"time": round(when, 3), "step": int(step)}
        line.update((key, value if math.isfinite(value) else None) for key, value in floats.items())
        line.update(tags)
        self._append((json.dumps(line, allow_nan=False) + "\n").encode())
        if self._events is not None:
            self._append_events(when, step, floats)

    def close(self) -> None:
        """Release both files. Any number of times."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._events is not None:
            self._events.close()
            self._events = None

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, data: bytes) -> None:
        if self._fd < 0:
            raise ValueError(f"{self.path} is closed")
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._fd, size)  # half a line in the middle would spoil the file
            self.dropped += 1
            if self.dropped == 1:
                log.error(
                    "cannot write %s: %s. The run goes on without metrics; free some disk space.",
                    self.path,
                    error.strerror,
                )

    def _append_events(self, when: float, step: int, floats: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=key, simple_value=value) for key, value in floats.items()]
        event = Event(wall_time=when, step=int(step), summary=Summary(value=scalars))
        try:
            assert self._events is not None
            self._events.add_event(event)
        except OSError as error:
            log.error("TensorBoard events stop here, the metrics file goes on: %s", error)
            self._events = None


def read_metrics(path: Path) -> list[Line]:
    """Every line of a metrics file, also while it is being written.

    A torn last line (no newline yet) is left out; a broken line elsewhere raises MetricsError.
    """
    data = Path(path).read_bytes()
    lines: list[Line] = []
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if not raw.strip():
            continue
        line = _parse(raw)
        if line is not None:
            lines.append(line)
        elif number <= data.count(b"\n"):
            raise MetricsError(
                f"{path}, line {number}: expected one JSON object, found {raw[:60]!r}. "
                "Remove that line; every other line can stay."
            )
    return lines


def number(line: Mapping[str, Any], *keys: str) -> float | None:
    """The first of `keys` that holds a finite number, else None."""
    for key in keys:
        value = line.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def running_totals(lines: Iterable[Line], *keys: str) -> Iterator[float | None]:
    """For each line, the counter under the first of `keys`, summed over the sessions so far.

    None where the line does not carry the counter.
    """
    finished, current, session = 0.0, 0.0, None
    for line in lines:
        value = number(line, *keys)
        if value is None:
            yield None
            continue
        if (line.get("session") != session) or (session is None and value < current):
            finished, current, session = finished + current, 0.0, line.get("session")
        current = max(current, value)
        yield finished + value


def total(lines: Iterable[Line], *keys: str) -> float:
    """A counter's total over all sessions; 0 when it never appears."""
    return max((value for value in running_totals(lines, *keys) if value is not None), default=0.0)


def _parse(raw: bytes) -> Line | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _mend_tail(fd: int, path: Path) -> None:
    """End the file in a complete line: what `kill -9` tore is cut off."""
    size = os.fstat(fd).st_size
    tail, start = b"", size
    while start > 0 and b"\n" not in tail:
        step = min(start, 1 << 16)
        start -= step
        tail = os.pread(fd, step, start) + tail
    torn = tail.rpartition(b"\n")[2]
    if not torn:
        return
    if _parse(torn) is not None:
        os.write(fd, b"\n")
        return
    os.ftruncate(fd, size - len(torn))
    log.info("%s: cut off %d bytes of a line torn when the last process died", path, len(torn))


def _open_events(folder: Path) -> EventFileWriter | None:
    try:
        # 0.4 s to import; torch.utils.tensorboard would bring torch along.
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        log.info("no TensorBoard events: `pip install tensorboard` brings them; metrics go on")
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return EventFileWriter(str(folder), max_queue_size=100, flush_secs=10)
