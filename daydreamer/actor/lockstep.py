"""Lockstep: actor and learner take turns, so that a run on a twin can be repeated exactly.

# actor    rows of a turn ----> waits ...................... loads exactly that version, next turn
# learner                 ingests, trains what they allow, publishes, grants the turn
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from daydreamer.actor.policy_runner import NO_POLICY
from daydreamer.actor.recorder import Recorder
from daydreamer.wire.link import LinkStatus
from daydreamer.wire.weights import Weights

log = logging.getLogger(__name__)

POLL_S = 0.2
SAY_EVERY_S = 30.0
LISTENED_S = 1.0  # at most, in one round of waiting

T = TypeVar("T")


class TurnError(RuntimeError):
    """The learner does not take its turn. Says what was waited for and what to do."""


class TurnLink(Protocol):
    """The part of wire.link.Link that turns need."""

    @property
    def status(self) -> LinkStatus:
        """What the link knows about the learner."""

    def wait_turn(self, sequence: int, timeout_s: float) -> int | None:
        """Version to use once the learner has dealt with chunk `sequence`, None on time-out."""

    def wait_weights(self, version: int, timeout_s: float) -> Weights | None:
        """The newest weights once their version is at least `version`; None on time-out."""


class WeightsUser(Protocol):
    """The part of policy_runner.PolicyRunner that turns need."""

    @property
    def version(self) -> int:
        """Of the policy in use."""

    def load(self, weights: Weights) -> bool:
        """Take weights; False when they do not fit."""


class Turns:
    """Ends a turn after every `rows` control steps. Called by the control thread."""

    def __init__(
        self,
        link: TurnLink,
        recorder: Recorder,
        runner: WeightsUser,
        *,
        rows: int,
        version: int,
        lost_after_s: float,
        stop: Callable[[], bool],
        beat: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """version: loaded already, -1: none.

        lost_after_s: a learner that is not connected for so long ends the run with TurnError.
        """
        self._link, self._recorder, self._runner = link, recorder, runner
        self._rows, self._lost_after_s = rows, lost_after_s
        self._stop, self._beat, self._now = stop, beat, now
        self._steps = 0
        self._version = version  # loaded last
        self._waited_for = -1

    def __call__(self) -> None:
        """One control step is over; wait for the learner if it was the turn's last."""
        self._steps += 1
        if self._steps % self._rows:
            return
        self._recorder.flush()
        version = self._wait_turn()
        if version is None or version in (NO_POLICY, self._version):
            return
        if self._wait(lambda: self._load(version), f"send policy version {version}"):
            self._version = version

    def finish(self) -> None:
        """The run is over: let the learner train on the last rows, so that it ends the same way."""
        self._wait_turn()

    def _wait_turn(self) -> int | None:
        """The version that the learner names for the chunks sent so far; None: no news."""
        sequence = self._recorder.sequence
        if sequence == self._waited_for:
            return None
        self._waited_for = sequence
        return self._wait(
            lambda: self._link.wait_turn(sequence, POLL_S),
            f"finish the turn that ends with chunk {sequence}",
        )

    def _load(self, version: int) -> bool | None:
        weights = self._link.wait_weights(version, POLL_S)
        if weights is None or weights.version != version:
            return None
        if not self._runner.load(weights):
            raise TurnError(
                f"policy version {version} does not fit this actor. Give actor and learner the "
                "same task, agent and size, and start both again."
            )
        return True

    def _wait(self, ask: Callable[[], T | None], what: str) -> T | None:
        """Ask until there is an answer; None only when the run is to stop."""
        start_s = said_s = before_s = self._now()
        gone_s = 0.0
        while not self._stop():
            self._beat()
            if (answer := ask()) is not None:
                return answer
            time_s, status = self._now(), self._link.status
            # A computer that slept, or a process that was stopped, heard nothing in that time: only
            # time spent listening counts against the learner.
            listened_s, before_s = min(time_s - before_s, LISTENED_S), time_s
            gone_s = 0.0 if status.connected else gone_s + listened_s
            if gone_s > self._lost_after_s:
                state = "gone" if status.refused is None else f"refusing ({status.refused})"
                raise TurnError(
                    f"the learner is {state} for {gone_s:.0f} s and did not {what}. In "
                    "lockstep the actor cannot go on alone: start the learner again, then this "
                    "actor with the same run; nothing recorded is lost."
                )
            if time_s - said_s >= SAY_EVERY_S:
                said_s = time_s
                log.info("waited %.0f s for the learner to %s", time_s - start_s, what)
        return None
