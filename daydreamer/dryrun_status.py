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

    def __init__(self, run: Path, actor: str, total_steps: int) -> None:
        self._actor, self._learner = (
            Tail(run / f"actor-{actor}" / "metrics.jsonl"),
            Tail(run / "learner" / "metrics.jsonl"),
        )
        self._total_steps = total_steps
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
        updates = int(value("learner/updates") or 0)
        version = value("actor/policy_version")
        return DryrunStatus(
            phase=phase or ("training" if updates else "prefill" if self._robot_s else "starting"),
            message=message or self._trouble(),
            control_steps=self.control_steps,
            total_steps=self._total_steps,
            robot_seconds=self.robot_seconds,
            steps_per_s=value("actor/steps_per_s"),
            recent_return=value("episode/return"),
            reward_per_step=value("actor/reward_per_step"),
            updates=updates,
            replay_ratio=value("learner/replay_ratio"),
            policy_version=None if version is None else int(version),
            policy_age_s=value("actor/policy_age_s"),
            late_steps=sum(self._late.values()),
            journal_chunks=int(value("actor/journal_chunks") or 0),
            losses={
                name: float(loss)
                for key, name in LOSSES.items()
                if (loss := value(key)) is not None
            },
        )

    def _trouble(self) -> str:
        if self._newest.get("actor/refused"):
            return f"the learner refuses the actor, whose rows wait: see {self._actor_log}"
        if self._newest.get("learner/trouble"):
            return f"the learner has trouble with the rows that arrive: see {self._learner_log}"
        return ""

    @property
    def control_steps(self) -> int:
        """Of the run, as the one that knows more wrote last: a killed actor took some with it."""
        keys = ("actor/total_steps", "learner/control_steps")
        return max(int(self._newest.get(key) or 0) for key in keys)

    @property
    def robot_seconds(self) -> float:
        """Of the run. Steps that no actor lived to report took as long as the others."""
        reported = sum(self._steps.values())
        return sum(self._robot_s.values()) * self.control_steps / reported if reported else 0.0

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
