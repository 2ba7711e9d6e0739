"""Rows, chunks and their schema: what happened, as plain arrays.

Convention "arriving": row t holds the observation o_t, the executed action that led to it,
the reward earned on arriving. See docs/wire.md.

    # index    0         1        2
    # obs      o0 -----> o1 ----> o2
    # action   0         a1       a2      a_t was executed and led to o_t
    # reward   0         r1       r2      r_t was earned on arriving at o_t
    # is_first True      False    False
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]

POLICY, HUMAN, RANDOM, SCRIPTED = range(4)  # values of the column "actor": who chose the action

# Columns every row has, beside the task's observations, "action" and log_*.
FIXED_COLUMNS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "reward": ("float32", ()),
    "is_first": ("bool", ()),
    "is_last": ("bool", ()),
    "is_terminal": ("bool", ()),
    "time_s": ("float64", ()),  # the body's clock when the observation was read
    "dt_s": ("float32", ()),  # measured time since the previous row; 0 on is_first
    "policy_version": ("int64", ()),  # -1: no policy chose the action
    "actor": ("uint8", ()),
}
ALLOWED_DTYPES = ("bool", "uint8", "uint16", "int32", "int64", "float32", "float64")


@dataclass(frozen=True)
class Column:
    """dtype name and per-row shape of one column."""

    dtype: str
    shape: tuple[int, ...]


Schema = Mapping[str, Column]


class ColumnLike(Protocol):
    """A column, or a task's robots.base.ArraySpec."""

    @property
    def dtype(self) -> str:
        """Name of the dtype."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""


def make_schema(
    observations: Mapping[str, ColumnLike], action_size: int, log_keys: tuple[str, ...]
) -> Schema:
    """The schema of a task's rows: observations, action, fixed columns, then log_*."""
    schema = {name: Column(spec.dtype, spec.shape) for name, spec in observations.items()}
    schema["action"] = Column("float32", (action_size,))
    schema.update({name: Column(*spec) for name, spec in FIXED_COLUMNS.items()})
    schema.update({f"log_{key}": Column("float32", ()) for key in log_keys})
    return schema


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one episode: the unit on the wire and in the archive.

    `sequence` counts the chunks of a session from 0 without gaps; `episode` counts its episodes and
    `first_row` the episode's rows before this chunk. columns[name] is (n, *shape).
    """

    run: str
    actor: str
    session: str  # one start of an actor: random, sortable by start time
    sequence: int
    episode: int
    first_row: int
    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))
