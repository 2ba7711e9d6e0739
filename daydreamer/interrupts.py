"""Ctrl-C and SIGTERM where there is nothing to put in order: the process ends at once, code 130.

A KeyboardInterrupt in the middle of an import shows a traceback, or the import swallows it. So this
is in place before anything else is imported, and itself imports next to nothing.

    # start       imports, config          a verb at work               the interpreter shuts down
    # end_at_once() ---------------------> StopFlag or unwind() ------> ignore()
"""

from __future__ import annotations

import os
import signal
from types import FrameType

INTERRUPTED = 130  # exit code
NUMBERS = (signal.SIGINT, signal.SIGTERM)


def end_at_once() -> None:
    """From now on a signal ends the process; no `finally` runs. Main thread only."""
    for number in NUMBERS:
        signal.signal(number, _end)


def unwind() -> None:
    """From now on a signal raises KeyboardInterrupt, so that `finally` brings a body to rest.

    No effect in a process that does not answer signals as above.
    """
    for number in NUMBERS:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.default_int_handler)


def ignore() -> None:
    """From now on Ctrl-C changes nothing: the work is done, and its exit code is the answer.

    Any other handler would be taken off by the interpreter's end, moments before the process's.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    # Not sys.stderr: it may be in the middle of a write.
    os.write(2, b"daydreamer: interrupted\n")
    os._exit(INTERRUPTED)
