"""How much a policy's actions change when its weights travel in fewer bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daydreamer.agents.config import AgentConfig
from daydreamer.bench.figures import Figure, figure
from daydreamer.bench.robot import some_columns
from daydreamer.bench.workloads import Workload
from daydreamer.config import load_run
from daydreamer.models.numpy_policy import NumpyPolicy, PolicyState
from daydreamer.replay.segments import list_segments, read_segment, segment_path
from daydreamer.wire.records import TornTail
from daydreamer.wire.rows import Array, Chunk
from robots.base import ActionSpec, ArraySpec

ROWS = 2000  # of a rollout
FRESH_ROWS = 200  # where weights and rows are made up anyway
Weights = Mapping[str, Array]
Rounding = Callable[[Array], Array]


class Rollout(NamedTuple):
    """A policy's weights, what it is built from, and the rows it looks at: (n, ...) a column."""

    name: str
    agent: AgentConfig
    observations: Mapping[str, ArraySpec]
    action: ActionSpec
    weights: Weights
    rows: Mapping[str, Array]


def of_workload(workload: Workload) -> Rollout:
    """Fresh weights and made-up rows: of_run() has trained ones."""
    from daydreamer.models.policy import build_policy

    agent, observations, action = workload.agent, workload.observations, workload.action
    weights = build_policy(agent, observations, action).arrays()
    rows = some_columns(workload, FRESH_ROWS)
    return Rollout(workload.name, agent, observations, action, weights, rows)


def of_run(folder: Path) -> Rollout:
    """The newest policy of a run, and the newest rows of its archive."""
    from daydreamer.learner.checkpoint import load_policy_arrays

    cfg = load_run(folder)
    task = cfg.task.build()
    weights, _ = load_policy_arrays(folder)
    rows = _newest_rows(folder / "learner" / "replay", [*task.observations, "action", "is_first"])
    return Rollout(cfg.run_name, cfg.agent, task.observations, task.action, weights, rows)


def action_change(roll: Rollout) -> Iterator[Figure]:
    """Change of the mode action, the largest of its dimensions, one entry a step.

    Every step begins at the belief of the float32 policy, so that changes do not add up, and draws
    the latent with the same uniforms. Where its probabilities moved past one of these, another
    class is drawn: the `redrawn` steps, which count in `_all` only. `redraw` is the yardstick: the
    float32 policy with other uniforms.
    """
    actions, beliefs = _walk(roll, lambda x: x)
    for name, rounding in {"float16": _float16, "bfloat16": _bfloat16}.items():
        found, reached = _walk(roll, rounding, along=beliefs)
        moved = np.abs(found - actions).max(-1)
        kept = np.array([np.array_equal(a.z, b.z) for a, b in zip(reached, beliefs, strict=True)])
        yield from _spread(roll.name, f"{name}_action", moved[kept])
        yield from _spread(roll.name, f"{name}_action_all", moved)
        yield figure(roll.name, f"{name}_redrawn", "% of steps", [100 * float((~kept).mean())])
    others, _ = _walk(roll, lambda x: x, along=beliefs, seed=1)
    yield from _spread(roll.name, "redraw_action", np.abs(others - actions).max(-1))


def _walk(
    roll: Rollout, rounding: Rounding, along: Sequence[PolicyState] | None = None, seed: int = 0
) -> tuple[NDArray[np.float32], list[PolicyState]]:
    """Mode actions (n, A), and the belief after each step. along: beliefs to set out from."""
    weights = {name: rounding(x) for name, x in roll.weights.items()}
    policy = NumpyPolicy(roll.agent, roll.observations, roll.action, weights)
    rng = np.random.default_rng(seed)
    belief = policy.initial()
    actions, beliefs = [], []
    for t, is_first in enumerate(roll.rows["is_first"]):
        if along is not None and t > 0:
            belief = along[t - 1]
        obs = {name: roll.rows[name][t] for name in roll.observations}
        action, belief = policy.step(
            obs, roll.rows["action"][t], bool(is_first), belief, "mode", rng
        )
        actions.append(action)
        beliefs.append(belief)
    return np.stack(actions), beliefs


def _spread(workload: str, metric: str, values: NDArray[Any]) -> Iterator[Figure]:
    """Median, least and most in one figure, the mean in another."""
    if len(values):
        yield figure(workload, metric, "of [-1, 1]", values.tolist())
        yield figure(workload, f"{metric}_mean", "of [-1, 1]", [float(values.mean())])


def _float16(x: Array) -> Array:
    return x.astype(np.float16).astype(np.float32)


def _bfloat16(x: Array) -> Array:
    """Rounded to the nearest number whose lower 16 bits are zero, to the even one of two."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32).reshape(x.shape)


def _newest_rows(root: Path, names: Sequence[str]) -> dict[str, Array]:
    """The last ROWS rows of an archive, or as many as its newest two segments have."""
    chunks: list[Chunk] = []
    for number in list_segments(root)[-2:]:
        with segment_path(root, number).open("rb") as file:
            try:
                chunks += [
                    record for _, record in read_segment(file, number) if isinstance(record, Chunk)
                ]
            except TornTail:  # of a learner that is writing, or was killed
                continue
    return {name: np.concatenate([c.columns[name] for c in chunks])[-ROWS:] for name in names}
