"""Kernels are compiled once, kept, and done without where there is no compiler."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from daydreamer.native import library as native
from tests.compiler import has_compiler

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C compiler here")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(native.SWITCH, raising=False)
    monkeypatch.delenv("CC", raising=False)


def fresh() -> object:
    """library() as a process that has not asked yet sees it."""
    return native.library.__wrapped__()


@needs_compiler
def test_they_are_compiled_once_and_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fresh() is not None
    made = list((tmp_path / "daydreamer").iterdir())
    assert [path.suffix for path in made] == [".so"]
    before = made[0].stat().st_mtime_ns
    monkeypatch.setattr(native, "_run", lambda command: pytest.fail("compiled again"))
    assert fresh() is not None
    assert made[0].stat().st_mtime_ns == before


@needs_compiler
def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    # In another process, for what is mapped here must not change.
    code = "from daydreamer.native.library import library; assert library() is not None"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    (made,) = (tmp_path / "daydreamer").iterdir()
    whole = made.read_bytes()
    made.write_bytes(b"")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
    assert made.read_bytes() == whole


def test_without_a_compiler_there_is_one_warning_and_no_kernels(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with caplog.at_level(logging.WARNING):
        assert fresh() is None
    assert [record.message for record in caplog.records] == [
        "no C kernels, updates are slower: there is no C compiler (install gcc, or set CC)"
    ]


def test_a_compiler_that_fails_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho 'error: no such processor' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    with caplog.at_level(logging.WARNING):
        assert fresh() is None
    assert "error: no such processor" in caplog.text
    assert not list((tmp_path / "daydreamer").glob("*.so"))


def test_a_cache_that_cannot_be_written_is_no_reason_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert fresh() is None
    assert "no C kernels" in caplog.text


def test_the_switch_leaves_everything_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.SWITCH, "off")
    assert fresh() is None


@needs_compiler
def test_an_update_is_the_same_with_and_without_kernels() -> None:
    script = """
import os
import torch
from daydreamer.agents.agent import build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.native.library import SWITCH, library
from robots.base import ActionSpec, ArraySpec
torch.set_num_threads(1)
assert (library() is None) == (os.environ[SWITCH] == "off")
g = torch.Generator().manual_seed(0)
sizes = dict(deter=16, units=16, stoch=4, classes=4, mlp_layers=2, mlp_units=16, horizon=4)
agent = build_agent(
    AgentConfig(**sizes, cnn_depth=2),
    {"vector": ArraySpec((3,)), "rgb": ArraySpec((64, 64, 3), "uint8")},
    ActionSpec("continuous", 2),
)
batch = {
    "vector": torch.randn(2, 6, 3, generator=g),
    "rgb": torch.randint(0, 256, (2, 6, 64, 64, 3), dtype=torch.uint8, generator=g),
    "action": torch.randn(2, 6, 2, generator=g),
    "reward": torch.randn(2, 6, generator=g),
    "is_first": torch.zeros(2, 6, dtype=torch.bool),
    "is_terminal": torch.zeros(2, 6, dtype=torch.bool),
}
for _ in range(2):
    metrics = agent.update(batch)
print({name: float(x) for name, x in sorted(metrics.items())})
"""
    found = []
    for switch in ("on", "off"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, native.SWITCH: switch},
            capture_output=True, text=True, timeout=100, check=True,
        )  # fmt: skip
        found.append(eval(run.stdout))  # noqa: S307  # printed by the script above
    fast, plain = found
    assert fast.keys() == plain.keys()
    assert fast == pytest.approx(plain, rel=2e-4, abs=2e-4)
