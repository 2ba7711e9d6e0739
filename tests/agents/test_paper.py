"""DayDreamer's own sizes, for a robot with a camera: they build, and they train."""

from __future__ import annotations

import dataclasses

import torch

from daydreamer.agents.agent import build_agent
from daydreamer.config import load
from daydreamer.config.loading import size_settings
from robots.base import ActionSpec, ArraySpec

OBSERVATIONS = {
    "vector": ArraySpec((16,)),
    "rgb": ArraySpec((64, 64, 3), "uint8"),
    "depth": ArraySpec((64, 64, 1), "uint8"),
}


def test_paper_size_trains_on_images_and_vectors_together() -> None:
    cfg = load(["task=a1_walk", "size=paper"]).agent
    layer = size_settings("paper", image=True)
    cfg = dataclasses.replace(cfg, **layer["agent"], imagination_starts=1)
    agent = build_agent(cfg, OBSERVATIONS, ActionSpec("continuous", 7), seed=0)
    assert agent.model.encoder.embed_size == 512 + 2048
    assert agent.model.rssm.feat_size == 512 + 32 * 32
    metrics = agent.update(
        {
            "vector": torch.randn(1, 2, 16),
            "rgb": torch.randint(0, 256, (1, 2, 64, 64, 3), dtype=torch.uint8),
            "depth": torch.randint(0, 256, (1, 2, 64, 64, 1), dtype=torch.uint8),
            "action": torch.rand(1, 2, 7),
            "reward": torch.randn(1, 2),
            "is_first": torch.tensor([[True, False]]),
            "is_terminal": torch.tensor([[False, True]]),
        }
    )
    assert float(metrics["bad"]) == 0
    assert all(bool(torch.isfinite(x).all()) for x in metrics.values())
