"""Ctrl-C at any moment of a process's life: code 130, no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Sends itself the signal when the module named first is looked for; the rest is the command line.
INTERRUPTED_IMPORT = """
import os, signal, sys

class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == moment:
            os.kill(os.getpid(), getattr(signal, number))

number, moment, *words = sys.argv[1:]
sys.meta_path.insert(0, Finder)
sys.argv = ["daydreamer", *words]
from daydreamer.__main__ import main
raise SystemExit(main())
"""

AT_WORK = """
import os, signal, sys
from daydreamer import __main__, cli, interrupts

def work(argv=None):
    interrupts.unwind()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        print("the body is at rest", flush=True)

cli.main = work
raise SystemExit(__main__.main())
"""

AT_THE_END = """
import atexit, os, signal
from daydreamer import __main__, cli
cli.main = lambda: 1
atexit.register(os.kill, os.getpid(), signal.SIGINT)
raise SystemExit(__main__.main())
"""


def python(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("daydreamer.cli", ["--help"]),
        ("daydreamer.config.describe", ["learner", "--help"]),
        ("hydra", ["tasks"]),
        ("sim.a1.config", ["dryrun", "task=a1_walk"]),
        ("daydreamer.telemetry.display", ["dryrun", "task=a1_walk"]),
        ("numpy", ["learner", "task=a1_walk"]),
        ("torch", ["learner", "task=a1_walk"]),
        ("numpy", ["info", "nowhere"]),
    ],
)
def test_a_signal_during_an_import_ends_quietly(
    number: str, moment: str, words: list[str], tmp_path: Path
) -> None:
    run = [f"run={tmp_path}"] if any("=" in word for word in words) else []
    result = python(INTERRUPTED_IMPORT, number, moment, *words, *run)
    assert result.returncode == 130, result.stderr
    assert result.stderr == "daydreamer: interrupted\n"


def test_a_signal_while_a_body_moves_brings_it_to_rest_first() -> None:
    result = python(AT_WORK)
    assert result.returncode == 130
    assert result.stdout == "the body is at rest\n"
    assert "Traceback" not in result.stderr


def test_a_signal_while_the_interpreter_shuts_down_changes_nothing() -> None:
    result = python(AT_THE_END)
    assert (result.returncode, result.stderr) == (1, "")
