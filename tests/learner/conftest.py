from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk, Column, Schema, make_schema
from robots.base import ActionSpec, ArraySpec

OBSERVATIONS = {"vector": ArraySpec((3,))}
ACTION = ActionSpec("continuous", 2)
SCHEMA: Schema = make_schema({"vector": Column("float32", (3,))}, 2, ())
TINY = AgentConfig(
    deter=8,
    units=8,
    stoch=2,
    classes=3,
    prior_layers=1,
    mlp_layers=1,
    mlp_units=8,
    cnn_depth=2,
    horizon=3,
    slow_critic_updates=3,
)


class StubAgent:
    """Counts its updates; the next `bad` of them are skipped."""

    def __init__(self) -> None:
        self.updates = 0
        self.bad = 0
        self.batches: list[dict[str, Tensor]] = []

    def update(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.updates += 1
        self.batches.append(dict(batch))
        is_bad, self.bad = self.bad > 0, max(0, self.bad - 1)
        loss = torch.tensor(float("nan") if is_bad else float(self.updates))
        return {"model/loss": loss, "bad": torch.tensor(float(is_bad))}

    def policy_arrays(self) -> dict[str, Any]:
        return {"w": np.full(2, self.updates, np.float32)}

    def collector_arrays(self) -> dict[str, Any]:
        return self.policy_arrays()

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def load_state_dict(self, state: Any) -> None:
        self.updates = state["updates"]


def make_chunk(sequence: int, rows: int = 8, session: str = "s", seed: int = 0) -> Chunk:
    """An episode of its own: the first row follows no control step."""
    rng = np.random.default_rng([seed, sequence])
    columns = {
        name: np.zeros((rows, *column.shape), column.dtype) for name, column in SCHEMA.items()
    }
    columns["vector"] = rng.normal(size=(rows, 3)).astype(np.float32)
    columns["action"] = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
    columns["reward"] = rng.normal(size=rows).astype(np.float32)
    columns["is_first"][0] = columns["is_last"][-1] = True
    return Chunk("run", "0", session, sequence, sequence, 0, columns)


@pytest.fixture
def stub_agent() -> StubAgent:
    return StubAgent()


@pytest.fixture
def chunk_factory() -> Callable[..., Chunk]:
    return make_chunk


@pytest.fixture
def schema() -> Schema:
    return SCHEMA


@pytest.fixture
def replay() -> SequenceReplay:
    return SequenceReplay(SCHEMA, 10_000)


@pytest.fixture
def agent_factory() -> Callable[..., Agent]:
    def make(seed: int = 0, **options: Any) -> Agent:
        cfg = dataclasses.replace(TINY, **options)
        return build_agent(cfg, OBSERVATIONS, ACTION, seed=seed)

    return make


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
