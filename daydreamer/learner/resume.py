"""What a checkpoint holds beside the agent, taken out of a running learner and put back."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from daydreamer.learner.checkpoint import CheckpointError
from daydreamer.learner.trainer import Trainer


def freeze(trainer: Trainer) -> dict[str, Any]:
    """Everything that the updates to come depend on, but for the rows: those are in the archive.

    Raises TrainingError where the last update was one bad one too many.
    """
    trainer.settle()
    return {
        "agent": trainer.agent.state_dict(),
        "sampler": trainer.sampler.state(),
        "limiter": trainer.limiter.state_dict(),
        "bad_updates": trainer.bad_updates,
        "bad_in_a_row": trainer.bad_in_a_row,
        "random": {
            "python": random.getstate(),
            "numpy": np.random.get_state(legacy=False),  # noqa: NPY002  # as seeded at the start
            "torch": torch.get_rng_state(),
        },
    }


def thaw(trainer: Trainer, state: Mapping[str, Any]) -> None:
    """Put the agent, counters and generators back; the caller deals with sampler and limiter.

    Raises CheckpointError when the agent is of another shape than the one that was frozen.
    """
    try:
        trainer.agent.load_state_dict(state["agent"])
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the newest checkpoint does not fit this agent ({reason}). It was made with other "
            "settings of agent or size; the log says which keys changed since the run began: set "
            "them back, or choose another run=DIR."
        ) from error
    trainer.bad_updates = int(state["bad_updates"])
    trainer.bad_in_a_row = int(state["bad_in_a_row"])
    generators = state["random"]
    version, internal, gauss = generators["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(generators["numpy"])  # noqa: NPY002  # as above
    torch.set_rng_state(generators["torch"])
