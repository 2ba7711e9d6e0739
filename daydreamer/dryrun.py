"""`daydreamer dryrun`: learner and actor as two processes over the real wire, a twin as body.

# dryrun ---- starts ----> learner   listens on a free port, says so in RUN/learner/address
#   |                         ^
#   +-------- starts -------> actor   is told that address
#
# actor ends at `steps`          -> learner is asked to end -> done
# all of that is done already    -> neither is started
# a process is killed            -> it is started again, at most MAX_RESTARTS times; the learner
#                                   takes its port again, or else the actor is told the new one
# a process fails                -> the other one is ended, its last words are shown
# Ctrl-C                         -> both end cleanly, the actor first
# dryrun itself is killed        -> both notice and end (daydreamer.process.follow_parent)
"""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from daydreamer.children import Child, name_of_signal
from daydreamer.config.runs import save
from daydreamer.config.schema import LearnerConfig
from daydreamer.dryrun_status import Status
from daydreamer.interrupts import INTERRUPTED
from daydreamer.learner.address import address_of
from daydreamer.process import StopFlag, claim, follow_parent, thread_environment
from daydreamer.telemetry.display import LiveDisplay

if TYPE_CHECKING:
    from daydreamer.config import Config

log = logging.getLogger(__name__)

POLL_S = 0.1
READY_S = 300.0  # until the learner listens: importing torch, reading a large archive
LEARNER_GRACE_S = 60.0  # for the learner's last update and checkpoint
ACTOR_GRACE_S = 10.0  # for the robot to come to rest, beside the time to drain
LEARNER_NICENESS = 5  # where both share a machine, the control loop goes first
MAX_RESTARTS = 5  # of one process
FREE_PORT = "tcp://127.0.0.1:*"


class DryrunError(RuntimeError):
    """A process failed. Carries its last words."""


def main(cfg: Config) -> int:
    """Run until cfg.steps; returns the exit code."""
    stop = StopFlag().install()
    follow_parent()  # a sweep's; nobody else names one
    folder = cfg.folder
    with claim(folder, "a dry run", "choose another run=DIR"), LiveDisplay() as display:
        save(cfg, folder)
        dryrun = Dryrun(cfg, display, stop)
        try:
            dryrun.run()
        except DryrunError as error:
            display.close()
            sys.stderr.write(f"daydreamer dryrun: {error}\n")
            return 1
        except KeyboardInterrupt:  # a second Ctrl-C
            stop.set()
        finally:
            dryrun.end()
        display.update(dryrun.status.read("finishing"))
    code = INTERRUPTED if dryrun.was_stopped else stop.exit_code
    sys.stdout.write("\n".join(farewell(cfg, dryrun.status, finished=code == 0)) + "\n")
    return code


class Dryrun:
    """The two processes and what is shown of them."""

    def __init__(self, cfg: Config, display: LiveDisplay, stop: StopFlag) -> None:
        self.status = Status(
            cfg.folder,
            cfg.actor.id,
            cfg.steps,
            prefill_rows=cfg.learner.prefill_rows,
            pretrain=cfg.learner.pretrain,
            waits=not cfg.actor.realtime,
        )
        self.was_stopped = False  # by a signal to one of the processes
        self._cfg, self._display, self._stop = cfg, display, stop
        self._address = ""  # where the actor is told to find the learner
        # Several dry runs may be started at once: each learner binds what is free, none guesses.
        bind = FREE_PORT if cfg.learner.bind == LearnerConfig.bind else cfg.learner.bind
        self._learner = Child(
            "learner",
            [f"run={cfg.run}", f"learner.bind={bind}"],
            cfg.folder / "learner" / "log.txt",
            thread_environment(cfg.learner.threads),
            niceness=LEARNER_NICENESS,
        )
        self._actor = Child(
            "actor",
            [f"run={cfg.run}"],
            cfg.folder / f"actor-{cfg.actor.id}" / "log.txt",
            thread_environment(cfg.actor.threads),
        )

    def run(self) -> None:
        """Until the actor is done, or stop. Raises DryrunError."""
        if self._is_complete():
            self._display.note(f"the run has its {self._cfg.steps:,} control steps already")
            return
        self._learner.start()
        if not self._await_learner():
            return
        self._start_actor()
        while not self._stop():
            self._display.update(self.status.read())
            if self._look_after(self._learner):
                return
            self._follow_learner()
            if self._look_after(self._actor) and not self._send_the_rest():
                return
            self._stop.wait(POLL_S)

    def end(self) -> None:
        """End what still runs, the actor first, so that its last rows are stored."""
        with contextlib.suppress(KeyboardInterrupt):  # more Ctrl-C: no more patience
            self._end_one(self._actor, self._cfg.actor.drain_s + ACTOR_GRACE_S)
            self._end_one(self._learner, LEARNER_GRACE_S)
        for child in (self._actor, self._learner):
            child.stop(grace_s=0.0)

    def _end_one(self, child: Child, grace_s: float) -> None:
        if child.is_running:
            self._display.update(self.status.read("finishing", f"the {child.verb} is ending"))
            child.stop(grace_s)

    def _is_complete(self) -> bool:
        """Whether the run was brought to its end: every step stored, every update in a checkpoint.

        After a kill the metrics say less than there is: then both are started and find out.
        """
        self.status.read()
        updates = self.status.updates
        saved = self._cfg.folder / "learner" / "checkpoints" / str(updates)
        return (
            0 < self._cfg.steps <= self.status.steps_stored
            and self._chunks_waiting() == 0
            and (updates == 0 or saved.is_dir())
        )

    def _chunks_waiting(self) -> int:
        """In the actor's journal."""
        journal = self._cfg.folder / f"actor-{self._cfg.actor.id}" / "journal"
        return sum(1 for _ in journal.glob("*/*.chunk"))

    def _await_learner(self) -> bool:
        """Until the learner listens: an actor as fast as a twin would run far ahead of it."""
        waited = 0.0
        while not self._stop():
            self._display.update(self.status.read("starting", "the learner is starting"))
            if self._look_after(self._learner):
                return False
            if (address := self._listens_at()) is not None:
                self._address = address
                return True
            if waited >= READY_S:
                raise DryrunError(
                    f"the learner does not listen after {READY_S:.0f} s. It said last:\n"
                    + self._learner.last_words()
                )
            self._stop.wait(POLL_S)
            waited += POLL_S
        return False

    def _listens_at(self) -> str | None:
        """The address of the learner that runs now; None: it does not listen yet."""
        return address_of(self._cfg.folder / "learner", self._learner.pid)

    def _start_actor(self) -> None:
        address = _reachable(self._address)
        self._actor.words = [f"run={self._cfg.run}", f"actor.learner={address}"]
        self._actor.start()

    def _follow_learner(self) -> None:
        """A learner whose port was taken while it was away is elsewhere: tell the actor."""
        address = self._listens_at()
        if address is None or address == self._address or not self._actor.is_running:
            return
        self._display.note(
            f"the learner's port was taken meanwhile; the actor starts again, for {address}"
        )
        self._actor.stop(self._cfg.actor.drain_s + ACTOR_GRACE_S)
        self._address = address
        self._start_actor()

    def _look_after(self, child: Child) -> bool:
        """Start it again if it was killed. True: it is done. Raises DryrunError: it failed."""
        code = child.exit_code
        if code is None:
            return False
        if code < 0 and child.restarts < MAX_RESTARTS:
            child.restarts += 1
            self._display.note(
                f"the {child.verb} was killed ({name_of_signal(-code)}); starting it again "
                f"({child.restarts} of at most {MAX_RESTARTS} times)"
            )
            child.start()
            return False
        if code < 0:
            raise DryrunError(
                f"the {child.verb} was killed {MAX_RESTARTS + 1} times, the last time by "
                f"{name_of_signal(-code)}. Is memory short? `dmesg | tail` would say. "
                f"The run is intact: run={self._cfg.run} goes on with it."
            )
        if code == INTERRUPTED:
            self._display.note(f"the {child.verb} was stopped from outside; ending the run")
            self.was_stopped = True
            return True
        if code != 0:
            raise DryrunError(f"the {child.verb} failed (exit code {code}):\n{child.last_words()}")
        return True

    def _send_the_rest(self) -> bool:
        """An actor that ended while the learner was away left rows behind: start it again (True).

        Having nothing to drive, it only sends them.
        """
        waiting = self._chunks_waiting()
        if waiting == 0 or self.was_stopped or self._actor.restarts >= MAX_RESTARTS:
            return False
        if not self._await_learner():
            return False
        self._display.note(f"{waiting} chunks are still in the journal; the actor sends them now")
        self._actor.restarts += 1
        self._start_actor()
        return True


def farewell(cfg: Config, status: Status, *, finished: bool) -> list[str]:
    """Where everything is, and what to type next."""
    run, program = cfg.run, program_name()
    further = f" steps={2 * cfg.steps}" if cfg.steps and finished else ""
    return [
        "",
        f"{'done' if finished else 'stopped'}: {status.control_steps:,} control steps, "
        f"{status.updates:,} updates",
        f"  everything is in       {run}",
        f"  newest checkpoint      {Path(run) / 'learner' / 'checkpoints' / 'latest'}",
        f"  logs                   {Path(run) / 'learner' / 'log.txt'}, "
        f"{Path(run) / f'actor-{cfg.actor.id}' / 'log.txt'}",
        "next:",
        f"  {program} eval run={run}",
        f"  {program} info {run}",
        f"  {program} plot {run} -o {Path(run) / 'curve.png'}",
        f"  {program} dryrun run={run}{further}",
    ]


def program_name() -> str:
    """What to type for this program: a name on the PATH, or the path that it was started with."""
    if shutil.which("daydreamer"):
        return "daydreamer"
    started = Path(sys.argv[0])
    return str(started) if started.name == "daydreamer" else "python -m daydreamer"


def _reachable(address: str) -> str:
    """What an actor on this machine connects to where the learner is bound to `address`."""
    return re.sub(r"^tcp://(0\.0\.0\.0|\*|\[::\])(?=:\d+$)", "tcp://127.0.0.1", address)
