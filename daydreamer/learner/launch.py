"""How this learner was started: alone, or as one of several processes by `torchrun`.

Imports no torch: thread limits, which torch reads when it is imported, are set after this.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daydreamer.config.errors import ConfigError

if TYPE_CHECKING:
    from daydreamer.config import Config


@dataclass(frozen=True)
class Launch:
    """This process's place. Rank 0 is the learner that robots know; the others help it train."""

    rank: int = 0
    size: int = 1  # processes in all
    local_rank: int = 0  # among those of this machine: which GPU is its own


def launched() -> Launch:
    """What torchrun says in the environment."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # RANK alone may be some cluster's
        return Launch()
    rank, size, local = (int(os.environ[key]) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return Launch(rank, size, local)


def check_shares(cfg: Config, size: int) -> None:
    """Raise ConfigError if a batch cannot be shared out equally among `size` processes."""
    starts = cfg.agent.imagination_starts
    if starts >= cfg.learner.batch * cfg.learner.length:
        starts = 0  # all there are
    for key, value in (("learner.batch", cfg.learner.batch), ("agent.imagination_starts", starts)):
        if value % size:
            raise ConfigError(
                f"{key}={value} cannot be shared equally by {size} processes. Choose a multiple of "
                f"{size}, e.g. {-(-value // size) * size}, or another --nproc-per-node."
            )
