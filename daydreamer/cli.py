"""`daydreamer VERB key=value ...`: finds the verb, answers --help, turns errors into exit codes.

0 done, 1 failed with a message that names cause and cure, 2 bad arguments, 130 interrupted.
Imports neither torch nor Hydra by itself: verbs import what they need when they run.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from daydreamer import __version__
from daydreamer.config.errors import ConfigError, nearest
from daydreamer.interrupts import INTERRUPTED
from daydreamer.verbs import VERBS, Verb

log = logging.getLogger(__name__)

DONE, FAILED, BAD_ARGUMENTS = 0, 1, 2

# Our own exception classes are for what the world does (cables, disks, peers, files), and their
# messages say what to do. Anything else is a defect, and shows its traceback.
_OWN = ("daydreamer", "robots", "sim")

# Optional packages, by the name they are imported by, and the extra that brings each.
_EXTRAS = {
    "torch": "learner",
    "tensorboard": "learner",
    "rich": "learner",
    "matplotlib": "learner",
    "cv2": "learner",
    "pybullet": "twin",
    "gymnasium": "twin",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _main(words)
        sys.stdout.flush()
    except BrokenPipeError:
        # `daydreamer info DIR | head`: the reader has enough; what is still to flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return code


def _main(words: list[str]) -> int:
    verbose = "-v" in words or bool(os.environ.get("DAYDREAMER_DEBUG"))
    words = [word for word in words if word != "-v"]
    if not words or words[0] in ("-h", "--help", "help"):
        _say(overview())
        return DONE if words else BAD_ARGUMENTS
    if words[0] == "--version":
        _say(f"daydreamer {__version__}")
        return DONE
    verb = VERBS.get(words[0])
    if verb is None:
        _complain(f"{words[0]!r} is no command. {nearest(words[0], VERBS)} See daydreamer --help.")
        return BAD_ARGUMENTS
    if "--help" in words or "-h" in words:
        _say(verb.help())
        return DONE
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    return _run(verb, words[1:], verbose)


def overview() -> str:
    """The answer to `daydreamer --help`."""
    width = max(len(name) for name in VERBS)
    lines = [
        "usage: daydreamer VERB key=value ... [-v]",
        "",
        "A robot learns in the real world, in hours, without a simulator.",
        "",
        *(f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items()),
        "",
        "VERB --help says more; -v (or DAYDREAMER_DEBUG=1) adds details and tracebacks.",
        "To begin: daydreamer dryrun task=a1_walk run=runs/first",
    ]
    return "\n".join(lines)


def _run(verb: Verb, words: list[str], verbose: bool) -> int:
    try:
        return verb.run(words)
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except SystemExit as stop:  # argparse inside a verb has said why
        if stop.code is None:
            return DONE
        return stop.code if isinstance(stop.code, int) else FAILED
    except BrokenPipeError:
        raise  # an OSError that main() knows better
    except Exception as error:
        message, code = explain(error)
        if message is None:
            raise
        if verbose:
            log.exception("%s", type(error).__name__)
        _complain(message)
        return code


def explain(error: Exception) -> tuple[str | None, int]:
    """What to tell the user about `error`, and the exit code. None: only a traceback will do."""
    if isinstance(error, ConfigError):
        return str(error), BAD_ARGUMENTS
    if isinstance(error, ModuleNotFoundError) and (error.name or "") in _EXTRAS:
        extra = _EXTRAS[error.name or ""]
        return f"{error.name} is not installed. Run: pip install 'daydreamer[{extra}]'", FAILED
    if type(error).__module__.partition(".")[0] in _OWN:
        return str(error), FAILED
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}", FAILED
    return None, FAILED


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(message: str) -> None:
    sys.stderr.write(f"daydreamer: {message}\n")
