"""bf16 is used where it is asked for or pays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from daydreamer.agents.agent import build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.precision import uses_bf16
from robots.base import ActionSpec, ArraySpec

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("flags", "expected"), [("fpu avx512f avx512_bf16", True), ("fpu avx2 avx512f", False)]
)
def test_auto_follows_the_processor(tmp_path: Path, flags: str, expected: bool) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(f"model name : any\nflags : {flags}\n")
    assert uses_bf16("auto", CPU, info) is expected


def test_auto_without_knowledge_is_fp32(tmp_path: Path) -> None:
    assert not uses_bf16("auto", CPU, tmp_path / "missing")


def test_explicit_choices_are_kept(tmp_path: Path) -> None:
    assert uses_bf16("bf16", CPU, tmp_path / "missing")
    assert not uses_bf16("fp32", CPU)


def test_bf16_updates_stay_close_to_fp32() -> None:
    batch = {
        "vector": torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(0)),
        "action": torch.zeros(4, 6, 2),
        "reward": torch.ones(4, 6),
        "is_first": torch.arange(6).expand(4, 6) == 0,
        "is_terminal": torch.zeros(4, 6, dtype=torch.bool),
    }
    losses = []
    for precision in ("fp32", "bf16"):
        cfg = AgentConfig(
            deter=16, units=16, stoch=4, classes=4, mlp_units=16, horizon=3, precision=precision
        )
        agent = build_agent(cfg, {"vector": ArraySpec((3,))}, ActionSpec("continuous", 2), seed=0)
        metrics = agent.update(batch)
        assert float(metrics["bad"]) == 0
        losses.append(float(metrics["model/loss"]))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
