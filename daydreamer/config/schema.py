"""What can be configured, and every default. YAML under configs/ states only what differs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from daydreamer.agents.config import AgentConfig
from daydreamer.config.errors import ConfigError
from daydreamer.config.nodes import BodyNode, TaskNode
from robots.safety_config import SafetyConfig

_ADDRESS = re.compile(r"tcp://(\*|\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5}|\*)|(ipc|inproc)://.+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as wire.names, which has it travel


def _require(ok: bool, found: str, expected: str) -> None:
    if not ok:
        raise ConfigError(f"{found}: expected {expected}.")


def _require_at_least(smallest: float, group: str, config: object, *keys: str) -> None:
    for key in keys:
        value = getattr(config, key)
        name = f"{group}.{key}" if group else key
        _require(value >= smallest, f"{name}={value}", f"at least {smallest:g}")


@dataclass
class LearnerConfig:
    """The learner process: replay, training, publishing. Defaults are the paper's where given."""

    bind: str = "tcp://127.0.0.1:5555"  # where actors find it; port * (dryrun's default): any free
    insecure: bool = False  # allow a bind address that others can reach, unencrypted
    device: str = "auto"  # auto, cpu, cuda or cuda:N
    threads: int = 0  # of an update on the CPU; 0: as many as others leave cores free

    batch: int = 32  # B, sequences in an update
    length: int = 32  # T, rows in a sequence
    replay_ratio: float = 512.0  # rows trained on (B x T) per row collected, at most
    prefill_rows: int = 5000  # rows before the first update
    pretrain: int = 100  # updates on the prefill, beside the ratio
    capacity_rows: int = 1_000_000  # the oldest rows leave first
    cross_episodes: bool = True  # a sequence may span an episode's border, marked by is_first
    ends_bonus: bool = False  # draw episode ends more often, as DayDreamer did
    recency: float = 1.0  # 1: all rows alike; at 2 the newest quarter is half of what is drawn

    holdout_every: int = 20  # of so many episodes one (its first 1,000 rows) is kept out; 0: none
    dream_share: float = 0.5  # without a robot: updates beyond those paid for, per one of these ...
    dream_after_s: float = 30.0  # ... once no robot has been connected for so long (async only)

    publish_every_updates: int = 50  # new weights for the actors after so many updates ...
    publish_every_s: float = 2.0  # ... but no more often than this (async only)
    checkpoint_every_s: float = 60.0  # between two checkpoints
    keep_checkpoints: int = 3  # older ones are deleted
    log_every_s: float = 5.0  # between two lines of metrics
    report_every_s: float = 300.0  # between two examinations on held-out episodes; 0: never
    keep_reports: int = 20  # older ones are thinned out
    max_bad_updates: int = 20  # non-finite updates in a row that end the run

    def __post_init__(self) -> None:
        """Refuse what no learner can run with."""
        _require_address("learner.bind", self.bind)
        _require(
            re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None,
            f"learner.device={self.device}",
            "auto, cpu, cuda or cuda:0",
        )
        _require_at_least(1, "learner", self, "batch", "publish_every_updates", "keep_checkpoints")
        _require_at_least(1, "learner", self, "max_bad_updates", "keep_reports")
        _require_at_least(2, "learner", self, "length")  # a transition needs two rows
        _require_at_least(
            0, "learner", self, "threads", "prefill_rows", "pretrain", "publish_every_s"
        )
        _require_at_least(0, "learner", self, "report_every_s", "dream_after_s")
        _require(
            self.recency == 1 or (1 < self.recency <= 8 and not self.ends_bonus),
            f"learner.recency={self.recency} with learner.ends_bonus={self.ends_bonus}",
            "a number from 1 (all rows alike) to 8, and 1 where episode ends are drawn more often",
        )
        _require(
            0 <= self.dream_share < math.inf,
            f"learner.dream_share={self.dream_share}",
            "0 for no dreaming, or a finite share such as 0.5",
        )
        _require(
            self.holdout_every >= 2 or self.holdout_every == 0,
            f"learner.holdout_every={self.holdout_every}",
            "0 for none, or at least 2: with 1 nothing would be left to train on",
        )
        for key in ("replay_ratio", "checkpoint_every_s", "log_every_s"):
            value = getattr(self, key)
            _require(value > 0, f"learner.{key}={value}", "a positive number")
        _require(
            self.capacity_rows >= max(self.prefill_rows, self.length),
            f"learner.capacity_rows={self.capacity_rows}",
            f"room for prefill_rows={self.prefill_rows} and one sequence of {self.length}",
        )


@dataclass
class ActorConfig:
    """The actor process: one robot."""

    id: str = "0"  # names the actor and its folder RUN/actor-<id>
    learner: str = "tcp://127.0.0.1:5555"  # where the learner is
    realtime: bool = True  # keep the body's control rate; false: as fast as a twin can
    threads: int = 1  # of matrix products in the control process

    chunk_rows: int = 32  # rows leave for the learner when there are so many ...
    chunk_age_s: float = 1.0  # ... or when the oldest of them is this old
    lockstep_rows: int = 32  # mode=lockstep: rows in a turn
    drain_s: float = 10.0  # at the end, wait this long for acknowledgements

    random_until_policy: bool = True  # act at random until the first policy; false: hold still
    max_policy_age_s: float | None = None  # a policy older than this is old; null: never
    on_old_policy: Literal["run", "hold", "stop"] = "run"  # what to do with an old one

    watchdog_s: float | None = None  # stall that stops the body; null: 10 periods, at least 0.5
    safety: SafetyConfig = field(default_factory=SafetyConfig)  # the rules, each with its mode

    def __post_init__(self) -> None:
        """Refuse what no actor can run with."""
        _require(
            _NAME.fullmatch(self.id) is not None,
            f"actor.id={self.id}",
            "1 to 64 letters, digits, '_', '-' or '.' after a letter or digit: it names a folder",
        )
        _require_address("actor.learner", self.learner)
        _require_at_least(1, "actor", self, "threads", "chunk_rows", "lockstep_rows")
        # An episode's last chunk may have one row more, and the wire takes 4096.
        _require(self.chunk_rows < 4096, f"actor.chunk_rows={self.chunk_rows}", "at most 4095")
        _require_at_least(0, "actor", self, "drain_s")
        _require(self.chunk_age_s > 0, f"actor.chunk_age_s={self.chunk_age_s}", "a positive number")
        _require(
            self.max_policy_age_s is None or self.max_policy_age_s > 0,
            f"actor.max_policy_age_s={self.max_policy_age_s}",
            "a positive number, or null for no bound",
        )
        _require(
            self.watchdog_s is None or self.watchdog_s > 0,
            f"actor.watchdog_s={self.watchdog_s}",
            "a positive number, or null for ten control periods",
        )


@dataclass
class WireConfig:
    """The link between actor and learner, and the journal behind it."""

    heartbeat_s: float = 1.0  # between two signs of life
    liveness_s: float = 10.0  # silence after which the other side counts as lost
    resend_s: float = 5.0  # an unacknowledged chunk is sent again after this
    max_in_flight: int = 16  # chunks sent and not yet acknowledged
    journal_quota_bytes: int | None = 4 << 30  # disk for rows not yet acknowledged; null: no bound
    journal_fsync: bool = True  # survive a power cut, not only a crash

    def __post_init__(self) -> None:
        """Refuse timings that cannot work together."""
        for key in ("heartbeat_s", "resend_s"):
            value = getattr(self, key)
            _require(value > 0, f"wire.{key}={value}", "a positive number")
        _require(
            self.liveness_s >= 2 * self.heartbeat_s,
            f"wire.liveness_s={self.liveness_s}",
            f"at least twice wire.heartbeat_s={self.heartbeat_s}, as one beat may be late",
        )
        _require_at_least(1, "wire", self, "max_in_flight")
        quota = self.journal_quota_bytes
        _require(
            quota is None or quota >= 1 << 20,
            f"wire.journal_quota_bytes={quota}",
            "at least 1048576 (1 MiB), or null for no bound",
        )


@dataclass
class Config:
    """Everything one process is told. Built by `daydreamer.config.load`, then never changed."""

    run: str  # the run's folder
    task: TaskNode
    body: BodyNode
    seed: int = 0  # of every random generator
    mode: Literal["async", "lockstep"] = "async"  # lockstep: take turns, reproducible, twins only
    steps: int = 36_000  # control steps after which the run ends; 0: when it is stopped
    size: str = "small"  # the size chosen; its values are in agent and learner
    agent: AgentConfig = field(default_factory=AgentConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    actor: ActorConfig = field(default_factory=ActorConfig)
    wire: WireConfig = field(default_factory=WireConfig)

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        _require(bool(self.run), "run is empty", "a folder, e.g. run=runs/a1_walk")
        _require_at_least(0, "", self, "seed", "steps")
        _require(
            not (self.mode == "lockstep" and self.actor.realtime),
            "mode=lockstep with actor.realtime=true",
            "a twin that can wait for its turn: body=twin actor.realtime=false, or mode=async",
        )
        _require(
            not (self.mode == "lockstep" and self.actor.on_old_policy != "run"),
            f"mode=lockstep with actor.on_old_policy={self.actor.on_old_policy}",
            "run, as a policy's age is wall time and would make runs differ",
        )

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.run)

    @property
    def run_name(self) -> str:
        """What actor and learner call the run: its folder's name, wherever each keeps it."""
        return self.folder.resolve().name


def _require_address(key: str, address: str) -> None:
    found = _ADDRESS.fullmatch(address)
    port = found.group(2) if found else None
    _require(
        found is not None and (port in (None, "*") or 0 < int(port) < 65536),
        f"{key}={address}",
        "an address such as tcp://127.0.0.1:5555",
    )
