"""The replay-ratio limiter: how many updates the rows collected so far pay for.

It throttles the learner, never the actor (docs/overview.md). Rows before the prefill start the
account at zero, so that the learner does not have to catch up on them with a burst of updates.
Updates dreamed without a robot are counted apart (docs/decisions/0061-keep-dreaming.md).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping


class ReplayRatioLimiter:
    """Counts rows collected and answers how many more updates may be done.

    updates allowed in all = pretrain + earned + dreamed
    earned = floor(ratio * (rows - prefill_rows) / batch_rows)
    dreamed <= floor(dream_share * earned)

    Args:
        ratio: rows trained on per row collected; `math.inf` lets the learner run freely.
        prefill_rows: rows to collect before the first update.
        batch_rows: rows one update trains on, B * T.
        pretrain: extra updates allowed once the prefill is complete.
        dream_share: updates that may be dreamed, per update earned.
    """

    def __init__(
        self,
        ratio: float,
        prefill_rows: int,
        batch_rows: int,
        pretrain: int = 0,
        dream_share: float = 0.0,
    ) -> None:
        if not ratio > 0:
            raise ValueError(f"replay ratio is {ratio}: choose a number above 0, e.g. 64")
        if batch_rows < 1:
            raise ValueError(f"batch_rows is {batch_rows}: expected batch * length, at least 1")
        if prefill_rows < 0 or pretrain < 0:
            raise ValueError(
                f"prefill_rows is {prefill_rows} and pretrain is {pretrain}: expected 0 or more"
            )
        if not 0 <= dream_share < math.inf:
            raise ValueError(f"dream_share is {dream_share}: expected 0 or more, e.g. 0.5")
        self.ratio = ratio
        self.prefill_rows = prefill_rows
        self.batch_rows = batch_rows
        self.pretrain = pretrain
        self.dream_share = dream_share
        self.rows = 0
        self.dreamed = 0  # updates done beyond those that rows have paid for

    def rows_collected(self, n: int) -> None:
        """Account for n more rows, collected by any actor."""
        if n < 0:
            raise ValueError(f"cannot collect {n} rows: expected 0 or more")
        self.rows += n

    def updates_allowed(self, updates_done: int) -> int:
        """How many more updates may be done now, 0 while the prefill is incomplete."""
        if self.rows < max(1, self.prefill_rows):
            return 0
        if math.isinf(self.ratio):
            return sys.maxsize
        return max(0, self.pretrain + self._earned() + self.dreamed - updates_done)

    def dreams_allowed(self, updates_done: int) -> int:
        """How many updates may be dreamed now: 0 while others are allowed, and at a ratio of inf.

        Updates done beyond what rows have paid for, say at a higher ratio before a restart, count
        against them.
        """
        if math.isinf(self.ratio) or self.rows < max(1, self.prefill_rows):
            return 0
        if self.updates_allowed(updates_done):
            return 0
        beyond = max(self.dreamed, updates_done - self.pretrain - self._earned())
        return max(0, math.floor(self.dream_share * self._earned() + 1e-9) - beyond)

    def _earned(self) -> int:
        # The small number forgives the rounding of ratios such as 0.1; it is far below one row.
        return math.floor(self.ratio * (self.rows - self.prefill_rows) / self.batch_rows + 1e-9)

    def rows_ahead(self, updates_done: int) -> float:
        """Rows collected that wait for updates allowed; negative: rows missing from the prefill.

        Never above 0 when no update is allowed, so that one side always has something to do.
        """
        if self.rows < max(1, self.prefill_rows):
            return float(self.rows - max(1, self.prefill_rows))
        if math.isinf(self.ratio):
            return 0.0
        return self.updates_allowed(updates_done) * self.batch_rows / self.ratio

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps. The settings are not state: a resumed run may change them."""
        return {"rows": self.rows, "dreamed": self.dreamed}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a checkpoint's account."""
        self.rows = int(state["rows"])
        self.dreamed = int(state.get("dreamed", 0))  # older checkpoints know of none
