"""Two processes that share an update compute what one does with the joint batch."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.ranks import ALONE, Ranks
from robots.base import ActionSpec, ArraySpec

ACTION = ActionSpec("continuous", 2)
WAIT_S = 120.0


def make(options: dict[str, Any], ranks: Ranks = ALONE) -> Agent:
    cfg = AgentConfig(
        deter=8, units=8, stoch=3, classes=4, prior_layers=1, mlp_layers=1, mlp_units=8, horizon=3,
        imagination_starts=6, **options,
    )  # fmt: skip
    return build_agent(cfg, {"vector": ArraySpec((3,))}, ACTION, seed=0, ranks=ranks)


def rows(seed: int) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    is_first = torch.zeros(4, 5, dtype=torch.bool)
    is_first[:, 0] = True
    return {
        "vector": torch.randn(4, 5, 3, generator=g),
        "action": torch.rand(4, 5, 2, generator=g) * 2 - 1,
        "reward": torch.randn(4, 5, generator=g),
        "is_first": is_first,
        "is_terminal": torch.zeros(4, 5, dtype=torch.bool),
    }


def train(agent: Agent, own: slice = slice(None)) -> list[dict[str, float]]:
    return [
        {name: float(x) for name, x in agent.update(batch).items()}
        for batch in ({key: x[own] for key, x in rows(seed).items()} for seed in range(2))
    ]


def one_of_two(rank: int, folder: str, options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    agent = make(options, Ranks(rank, 2))
    metrics = train(agent, slice(2 * rank, 2 * rank + 2))
    weights = [*agent.model.parameters(), *agent.behavior.parameters()]
    if agent.explorer is not None:
        weights += [*agent.explorer.parameters(), *agent.explorer.buffers()]
    torch.save((metrics, [x.detach() for x in weights]), Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"latents": "gaussian", "reinforce_share": 0.5},
        {"explore_updates": 9, "explore_extrinsic": 0.5, "center_rewards": True},
    ],
    ids=["categorical", "gaussian and a mixed actor gradient", "exploring"],
)
def test_two_ranks_draw_and_learn_as_one_process_would(
    options: dict[str, Any], tmp_path: Path
) -> None:
    pair = multiprocessing.start_processes(
        one_of_two, args=(str(tmp_path), options), nprocs=2, join=False, start_method="spawn"
    )
    deadline_s = time.monotonic() + WAIT_S
    try:
        while not pair.join(timeout=1):
            assert time.monotonic() < deadline_s, "the two ranks never came to an end"
    finally:
        for process in pair.processes:
            process.kill()
    (metrics, weights), (others, their_weights) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert metrics == others
    assert all(torch.equal(a, b) for a, b in zip(weights, their_weights, strict=True))
    assert any(name.startswith("explore/") for name in metrics[-1]) == (
        "explore_updates" in options
    )
    for found, expected in itertools.zip_longest(metrics, train(make(options))):
        assert found == pytest.approx(expected, rel=2e-3, abs=1e-5)
