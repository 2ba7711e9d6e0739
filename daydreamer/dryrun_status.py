"""What a dry run shows, read from the metrics files of its two processes while they write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from daydreamer.telemetry.display import DryrunStatus

Line = dict[str, Any]

LOSSES = {  # metric -> name on the display
    "model/loss": "model",
    "model/kl_nats": "kl",
    "model/reward_loss": "reward",
    "behavior/actor_loss": "actor",
    "behavior/critic_loss": "critic",
    "behavior/entropy": "entropy",
}


class Tail:
    """The lines that a growing metrics file has gained since the last call."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset, self._partial = path, 0, b""

    def read(self) -> list[Line]:
        """New complete lines; damaged ones are left to `daydreamer info` to complain about."""
        try:
            with self._path.open("rb") as file:
                file.seek(0, 2)
                if file.tell() < self._offset:  # a torn line was cut off at a restart
                    self._offset, self._partial = file.tell(), b""
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *whole, self._partial = (self._partial + data).split(b"\n")
        return [line for raw in whole if (line := _parse(raw)) is not None]


class Status:
    """Newest value of everything worth showing."""

    def __init__(
        self,
        run: Path,
        actor: str,
        total_steps: int,
        *,
        prefill_rows: int = 0,
        pretrain: int = 0,
        waits: bool = False,
    ) -> None:
        """prefill_rows, pretrain: the learner's. waits: whether the twin does, for the learner."""
        self._actor, self._learner = (
            Tail(run / f"actor-{actor}" / "metrics.jsonl"),
            Tail(run / "learner" / "metrics.jsonl"),
        )
        self._total_steps = total_steps
        self._prefill_rows, self._pretrain, self._waits = prefill_rows, pretrain, waits
        self._actor_log = run / f"actor-{actor}" / "log.txt"
        self._learner_log = run / "learner" / "log.txt"
        self._newest: Line = {}
        self._robot_s: dict[str, float] = {}  # by session: each counts from 0
        self._steps: dict[str, float] = {}
        self._late: dict[str, int] = {}

    def read(self, phase: str | None = None, message: str = "") -> DryrunStatus:
        """As of now. phase: overrides what the figures say."""
        for line in self._actor.read():
            session = str(line.get("session"))
            self._robot_s[session] = line.get("actor/robot_seconds") or 0.0
            self._steps[session] = line.get("actor/control_steps") or 0.0
            self._late[session] = int(line.get("actor/late_steps") or self._late.get(session, 0))
            self._newest.update(line)
        for line in self._learner.read():
            self._newest.update(line)
        value = self._newest.get
        # -1: none yet; its age is then that of the actor.
        version = int(value("actor/policy_version") or 0)
        has_policy = version > 0
        return DryrunStatus(
            phase=phase or self._phase(),
            message=message or self._trouble() or ("" if phase else self._activity()),
            control_steps=self.control_steps,
            total_steps=self._total_steps,
            robot_seconds=self.robot_seconds,
            steps_per_s=value("actor/steps_per_s"),
            recent_return=value("episode/return"),
            reward_per_step=value("actor/reward_per_step"),
            updates=self.updates,
            replay_ratio=value("learner/replay_ratio"),
            policy_version=version if has_policy else None,
            policy_age_s=value("actor/policy_age_s") if has_policy else None,
            late_steps=sum(self._late.values()),
            journal_chunks=int(value("actor/journal_chunks") or 0),
            losses={
                name: float(loss)
                for key, name in LOSSES.items()
                if (loss := value(key)) is not None
            },
        )

    def _phase(self) -> str:
        if self.updates >= max(1, self._pretrain):
            return "training"
        if not self._robot_s:
            return "starting"
        # The learner's count is as old as its last line of metrics, the actor's lacks first rows.
        rows = max(int(self._newest.get("learner/rows") or 0), self.control_steps)
        if rows < self._prefill_rows:
            return "prefill"
        return "pretraining" if self._pretrain else "training"

    def _activity(self) -> str:
        """What is going on while the figures stand still."""
        if self._newest.get("learner/dreaming"):
            return "no robot is connected: dreaming on from stored data"
        phase = self._phase()
        if phase == "prefill":
            return f"collecting {self._prefill_rows:,} rows before the first update"
        if phase == "pretraining":
            waits = ", while the twin waits" if self._waits else ""
            return f"{self._pretrain:,} update(s) on the rows so far{waits}"
        return ""

    def _trouble(self) -> str:
        if self._newest.get("actor/refused"):
            return f"the learner refuses the actor, whose rows wait: see {self._actor_log}"
        if self._newest.get("learner/trouble"):
            return f"the learner has trouble with the rows that arrive: see {self._learner_log}"
        return ""

    @property
    def control_steps(self) -> int:
        """Of the run: stored, or on their way there as the running actor wrote last."""
        return max(int(self._newest.get("actor/total_steps") or 0), self.steps_stored)

    @property
    def robot_seconds(self) -> float:
        """Driven. Steps that no actor lived to report took as long as the others."""
        reported = sum(self._steps.values())
        share = max(1.0, self.control_steps / reported) if reported else 0.0
        return sum(self._robot_s.values()) * share

    @property
    def steps_stored(self) -> int:
        """Of the run, as the learner last wrote."""
        return int(self._newest.get("learner/control_steps") or 0)

    @property
    def updates(self) -> int:
        """As the learner last wrote."""
        return int(self._newest.get("learner/updates") or 0)


def _parse(raw: bytes) -> Line | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None
