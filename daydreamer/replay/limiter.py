"""The replay-ratio limiter: how many updates the rows collected so far pay for.

It throttles the learner, never the actor (docs/overview.md). Rows before the prefill start the
account at zero, so that the learner does not have to catch up on them with a burst of updates.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping


class ReplayRatioLimiter:
    """Counts rows collected and answers how many more updates may be done.

    updates allowed in all = pretrain + floor(ratio * (rows - prefill_rows) / batch_rows)

    Args:
        ratio: rows trained on per row collected; `math.inf` lets the learner run freely.
        prefill_rows: rows to collect before the first update.
        batch_rows: rows one update trains on, B * T.
        pretrain: extra updates allowed once the prefill is complete.
    """

    def __init__(self, ratio: float, prefill_rows: int, batch_rows: int, pretrain: int = 0) -> None:
        if not ratio > 0:
            raise ValueError(f"replay ratio is {ratio}: choose a number above 0, e.g. 64")
        if batch_rows < 1:
            raise ValueError(f"batch_rows is {batch_rows}: expected batch * length, at least 1")
        if prefill_rows < 0 or pretrain < 0:
            raise ValueError(
                f"prefill_rows is {prefill_rows} and pretrain is {pretrain}: expected 0 or more"
            )
        self.ratio = ratio
        self.prefill_rows = prefill_rows
        self.batch_rows = batch_rows
        self.pretrain = pretrain
        self.rows = 0

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
        # The small number forgives the rounding of ratios such as 0.1; it is far below one row.
        earned = math.floor(self.ratio * (self.rows - self.prefill_rows) / self.batch_rows + 1e-9)
        return max(0, self.pretrain + earned - updates_done)

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
        return {"rows": self.rows}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a checkpoint's account."""
        self.rows = int(state["rows"])
