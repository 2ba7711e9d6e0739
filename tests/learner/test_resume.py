"""N + M updates equal N, checkpoint, restart, M: bit for bit, on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.learner.checkpoint import CheckpointError, Checkpoints
from daydreamer.learner.resume import freeze, thaw
from daydreamer.learner.sampler import DirectSampler
from daydreamer.learner.trainer import Trainer
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.wire.rows import Chunk, Schema
from robots.base import ActionSpec, ArraySpec


def make_trainer(
    agent: Agent, schema: Schema, chunks: list[Chunk], folder: Path
) -> tuple[Trainer, DirectSampler]:
    replay = SequenceReplay(schema, 1000)
    for chunk in chunks:
        replay.add(chunk)
    direct = DirectSampler(replay, ("vector",), batch=3, length=5, seed=1)
    limiter = ReplayRatioLimiter(4.0, 0, 15)
    limiter.rows_collected(len(replay))
    trainer = Trainer(agent, direct, limiter, max_bad_updates=3, evidence_dir=folder)
    return trainer, direct


def weights(agent: Agent) -> dict[str, Any]:
    state = agent.state_dict()
    own = {**state["model"], **{f"b.{name}": x for name, x in state["behavior"].items()}}
    return {**own, **{f"e.{name}": x for name, x in state.get("explorer", {}).items()}}


@pytest.mark.parametrize("explore_updates", [0, 6, 9], ids=["task", "hand-over", "exploring"])
def test_a_restart_changes_no_bit(
    agent_factory: Callable[..., Agent],
    chunk_factory: Callable[..., Chunk],
    schema: Schema,
    tmp_path: Path,
    explore_updates: int,
) -> None:
    def make(seed: int = 0) -> Agent:
        return agent_factory(seed=seed, explore_updates=explore_updates, slow_critic_updates=2)

    chunks = [chunk_factory(sequence) for sequence in range(5)]
    straight, _ = make_trainer(make(), schema, chunks, tmp_path)
    for _ in range(7):
        straight.update()

    before, _ = make_trainer(make(), schema, chunks, tmp_path)
    for _ in range(4):
        before.update()
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    checkpoints.save(before.agent.updates, freeze(before), before.agent.policy_arrays())

    torch.manual_seed(99)  # a restarted process starts anywhere
    np.random.seed(99)  # noqa: NPY002  # the global generator is part of a checkpoint
    after, direct = make_trainer(make(seed=77), schema, chunks, tmp_path)
    loaded = Checkpoints(tmp_path / "checkpoints", keep=2).load()
    assert loaded is not None
    thaw(after, loaded[1])
    direct.load_state(loaded[1]["sampler"])
    for _ in range(3):
        after.update()

    assert after.agent.updates == straight.agent.updates == 7
    expected, found = weights(straight.agent), weights(after.agent)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert straight.averages.take()["model/loss"] != 0
    assert straight.sampler.state() == after.sampler.state()
    ours, theirs = straight.agent.state_dict(), after.agent.state_dict()
    for generator in ("generator", "explore_generator"):
        assert torch.equal(ours[generator], theirs[generator])


def test_a_checkpoint_of_another_size_is_refused_with_a_cure(
    agent_factory: Callable[..., Agent], schema: Schema, tmp_path: Path
) -> None:
    small, _ = make_trainer(agent_factory(), schema, [], tmp_path)
    other = AgentConfig(deter=12, units=8, stoch=2, classes=3, mlp_units=8, cnn_depth=2)
    agent = build_agent(other, {"vector": ArraySpec((3,))}, ActionSpec("continuous", 2))
    large, _ = make_trainer(agent, schema, [], tmp_path)
    with pytest.raises(CheckpointError, match=r"does not fit this agent .* choose another run=DIR"):
        thaw(large, freeze(small))
