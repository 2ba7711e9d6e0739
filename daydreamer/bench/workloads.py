"""The named workloads that learner, actor, replay and wire are measured with. They never change.

W1 is an A1 seen through its joints, W2 a robot with a camera; the size is DayDreamer's own, with a
convolution depth of 48 in W2 and the paper's 64 in W2-64. `-small` is the same robot at size=small.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from daydreamer.agents.config import AgentConfig
from daydreamer.config.errors import ConfigError, nearest
from daydreamer.config.loading import size_settings
from daydreamer.config.overrides import assign, parse, split
from daydreamer.config.typed import build, field_types
from robots.base import ActionSpec, ArraySpec


@dataclass(frozen=True)
class Workload:
    """A robot as a learner sees it, and the agent that learns it."""

    name: str
    observations: Mapping[str, ArraySpec]
    action: ActionSpec
    agent: AgentConfig
    replay_rows: int  # as many as the replay memory is measured with
    batch: int = 32
    length: int = 32

    def rows(self, *lead: int, seed: int = 0) -> dict[str, NDArray[np.generic]]:
        """Synthetic rows (*lead, ...): noise, with an episode's start at index 0 of the last."""
        rng = np.random.default_rng(seed)
        rows: dict[str, NDArray[np.generic]] = {}
        for key, spec in self.observations.items():
            shape = (*lead, *spec.shape)
            if spec.is_image:
                rows[key] = rng.integers(0, 256, shape, np.uint8)
            else:
                rows[key] = rng.standard_normal(shape, np.float32)
        action = rng.uniform(-1, 1, (*lead, self.action.size)).astype(np.float32)
        first = np.zeros(lead, bool)
        first[..., 0] = True
        action[first] = 0
        rows["action"], rows["is_first"] = action, first
        rows["reward"] = rng.standard_normal(lead, np.float32) * ~first
        rows["is_last"] = np.zeros(lead, bool)
        rows["is_terminal"] = np.zeros(lead, bool)
        return rows


A1 = {"vector": ArraySpec((36,))}
CAMERA = {"image": ArraySpec((64, 64, 3), "uint8"), "vector": ArraySpec((20,))}


def _a1(name: str, agent: AgentConfig, batch: int = 32) -> Workload:
    return Workload(name, A1, ActionSpec("continuous", 12), agent, 1_000_000, batch)


def _camera(name: str, agent: AgentConfig, batch: int = 32) -> Workload:
    return Workload(name, CAMERA, ActionSpec("continuous", 7), agent, 100_000, batch)


def _paper(image_depth: int | None = None) -> AgentConfig:
    settings = size_settings("paper", image=image_depth is not None)["agent"]
    depth = {} if image_depth is None else {"cnn_depth": image_depth}
    return AgentConfig(**{**settings, **depth, "precision": "auto"})


def _small(image: bool) -> AgentConfig:
    return AgentConfig(**size_settings("small", image=image)["agent"])


WORKLOADS: Mapping[str, Callable[[], Workload]] = {
    "W1": lambda: _a1("W1", _paper()),
    "W1-small": lambda: _a1("W1-small", _small(image=False), batch=16),
    "W2": lambda: _camera("W2", _paper(48)),
    "W2-64": lambda: _camera("W2-64", _paper(64)),
    "W2-small": lambda: _camera("W2-small", _small(image=True), batch=16),
}


def choose(words: Sequence[str], default: Sequence[str] = ("W1",)) -> list[Workload]:
    """The workloads that `workload=W1,W2` names, with any `agent.key=value` laid over them.

    Without workload=: `default`. Raises ConfigError for unknown names and keys.
    """
    given = split(words)
    names = given.values.pop("workload", ",".join(default)).split(",")
    known = {f"agent.{key}": kind for key, kind in field_types(AgentConfig).items()}
    data: dict[str, dict[str, object]] = {"agent": {}}
    for key, text in {**given.groups, **given.values}.items():
        assign(data, key, parse(key, text, {**known, "workload": str}))
    chosen = []
    for name in names:
        if name not in WORKLOADS:
            raise ConfigError(f"workload={name}: there is none. {nearest(name, WORKLOADS)}")
        workload = WORKLOADS[name]()
        settings = {**dataclasses.asdict(workload.agent), **data["agent"]}
        agent = build(AgentConfig, settings, "agent")
        chosen.append(dataclasses.replace(workload, agent=agent))
    return chosen
