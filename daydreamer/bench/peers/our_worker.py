"""Us, as a contestant."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from daydreamer.bench.peers.serving import serve
from robots.base import FloatArray


class OurTrainee:
    """Agent.update on synthetic rows, and the actor's own policy step."""

    def __init__(self, workload: str, words: list[str], threads: int) -> None:
        import numpy as np
        import torch

        from daydreamer import __version__
        from daydreamer.actor.policy_runner import PolicyRunner
        from daydreamer.agents.agent import build_agent
        from daydreamer.bench.workloads import choose
        from daydreamer.models.numpy_policy import NumpyPolicy
        from daydreamer.wire.weights import pack_weights, unpack_weights

        torch.set_num_threads(threads)
        self.versions: Mapping[str, str] = {
            "daydreamer": __version__,
            "torch": torch.__version__,
        }
        (named,) = choose([f"workload={workload}", *words])
        about = (named.agent, named.observations, named.action)
        self._agent = build_agent(*about)
        rows = named.rows(named.batch, named.length)
        self._batch = {key: torch.from_numpy(values) for key, values in rows.items()}
        self._runner = PolicyRunner(
            partial(NumpyPolicy, *about), named.observations, named.action, seed=0
        )
        # As a robot gets them: in float16.
        blob = pack_weights(self._agent.policy_arrays(), 0, 0.0, half=True)
        if not self._runner.load(unpack_weights(blob)):
            raise RuntimeError("the actor refuses the policy of its own learner")
        one = named.rows(1)
        self._obs = {key: one[key][0] for key in named.observations}
        self._action: FloatArray = np.zeros(named.action.size, np.float32)
        self._is_first = True

    def update(self) -> None:
        """One update, as the learner does it."""
        self._agent.update(self._batch)

    def act(self) -> None:
        """One control step's choice, as the actor makes it."""
        self._action = self._runner.act(self._obs, self._action, self._is_first).action
        self._is_first = False


def build(request: Mapping[str, Any]) -> OurTrainee:
    """The workload by its name, with settings laid over it."""
    return OurTrainee(request["workload"], request["words"], request["threads"])


if __name__ == "__main__":
    serve(build)
