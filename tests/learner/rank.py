"""One of several processes that train together: `rank.py RANK SIZE PORT OUT`. Writes OUT.npz."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.optimizer import Optimizer, StepReport
from daydreamer.agents.ranks import Ranks
from robots.base import ActionSpec, ArraySpec

B, T, UPDATES = 4, 6, 4
SIZES: dict[str, Any] = {
    "deter": 16, "units": 16, "stoch": 4, "classes": 4, "prior_layers": 1, "mlp_layers": 1,
    "mlp_units": 16, "cnn_depth": 2, "horizon": 4, "slow_critic_updates": 2,
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "continuous": {"center_rewards": True, "mean_penalty": 0.01},
    "discrete": {"imagination_starts": 10, "entropy_target": 0.9},
    # Hands over after the third update, the one that is bad.
    "exploring": {"explore_updates": 3, "explore_extrinsic": 0.5, "center_rewards": True},
}


def make(case: str, ranks: Ranks) -> Agent:
    action = ActionSpec("discrete" if case == "discrete" else "continuous", 3)
    observations = {"vector": ArraySpec((3,)), "rgb": ArraySpec((64, 64, 3), "uint8")}
    return build_agent(
        AgentConfig(**SIZES, **CASES[case]), observations, action, seed=0, ranks=ranks
    )


def rows(update: int) -> dict[str, Tensor]:
    """A joint batch. Its halves differ, and so do what they say about every mean."""
    g = torch.Generator().manual_seed(update)
    batch = {
        "vector": torch.randn(B, T, 3, generator=g),
        "rgb": torch.randint(0, 255, (B, T, 64, 64, 3), dtype=torch.uint8, generator=g),
        "action": torch.eye(3)[torch.randint(0, 3, (B, T), generator=g)],
        "reward": torch.randn(B, T, generator=g) + torch.arange(B).unsqueeze(1),
        "is_first": torch.rand(B, T, generator=g) < 0.2,
        "is_terminal": torch.rand(B, T, generator=g) < 0.1,
    }
    if update == 2:
        batch["vector"][-1, 1, 0] = float("nan")  # in the last rank's share alone
    return batch


def train(ranks: Ranks) -> dict[str, NDArray[Any]]:
    """Gradients of every update, its metrics, and the state at the end, of every case."""
    found: dict[str, Tensor] = {}
    original = Optimizer.step

    def step(self: Optimizer, loss: Tensor) -> StepReport:
        for index, param in enumerate(self.params):
            assert param.grad is not None
            found[f"{prefix}/gradient/{len(found)}/{index}"] = param.grad.clone()
        return original(self, loss)

    Optimizer.step = step  # type: ignore[method-assign]
    for case in CASES:
        agent = make(case, ranks)
        for update in range(UPDATES):
            prefix = f"{case}/{update}"
            share = {name: ranks.share(x) for name, x in rows(update).items()}
            for name, x in agent.update(share).items():
                found[f"{prefix}/metric/{name}"] = x
        state = agent.state_dict()
        for part in {"model", "behavior", "explorer"} & state.keys():
            found.update({f"{case}/state/{part}.{k}": x for k, x in state[part].items()})
        for generator in ("generator", "explore_generator"):
            found[f"{case}/{generator}"] = state[generator]
    Optimizer.step = original  # type: ignore[method-assign]
    return {name: x.numpy() for name, x in found.items()}


if __name__ == "__main__":
    rank, size, port, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=60),
    )
    np.savez(out, **train(Ranks(rank, size)))  # type: ignore[arg-type]
    distributed.destroy_process_group()
