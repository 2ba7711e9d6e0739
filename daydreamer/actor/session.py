"""One session: everything an actor needs, put together, driven, and taken apart in order."""

from __future__ import annotations

import contextlib
import logging
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from daydreamer.actor.catch_up import CatchUp
from daydreamer.actor.clock import ControlClock
from daydreamer.actor.kept_weights import KeptWeights
from daydreamer.actor.lockstep import TurnError, Turns
from daydreamer.actor.loop import ControlLoop
from daydreamer.actor.policy_runner import NO_POLICY, PolicyRunner, WeightsLoader
from daydreamer.actor.progress import Progress
from daydreamer.actor.recorder import Recorder
from daydreamer.actor.report import Report
from daydreamer.config import Config, fingerprint
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.process import StopFlag, claim, save_config_once, seed_everything
from daydreamer.telemetry.metrics import MetricsLog
from daydreamer.wire.codec import WireError
from daydreamer.wire.journal import Journal
from daydreamer.wire.link import Link, LinkConfig
from daydreamer.wire.names import new_session
from daydreamer.wire.rows import make_schema
from robots.base import EpisodicBody, Robot, RobotError, Task
from robots.safety import Safety
from robots.watchdog import Watchdog

log = logging.getLogger(__name__)

HELLO_WAIT_S = 3.0  # for the learner, before the robot moves; it moves without one, too
POLICY_WAIT_S = 20.0  # for the policy of a learner that has one
TURN_PATIENCE_S = 120.0  # lockstep: how long the learner may be gone, long enough to be restarted
STALL_PERIODS = 10  # control periods without a step after which the watchdog stops the body
STALL_S = 0.5  # ... but at least this


def run_session(cfg: Config, stop: StopFlag) -> int:
    """Drive until the run has cfg.steps, or stop(). Returns the exit code."""
    seed_everything(cfg.seed)
    folder = cfg.folder / f"actor-{cfg.actor.id}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(claim(folder, f"actor.id={cfg.actor.id}", "choose another actor.id"))
        save_config_once(cfg)
        task, robot = cfg.task.build(), cfg.body.build(cfg.task)
        session = new_session()
        journal = Journal(folder / "journal", cfg.wire.journal_quota_bytes, cfg.wire.journal_fsync)
        progress = Progress(cfg.steps, journal)
        link = _open_link(cfg, task, session, journal)
        try:
            _await_learner(cfg, link, stop, progress)
            _drive(cfg, task, robot, session, link, progress, stop, folder)
        except (TurnError, RobotError, WireError) as error:
            log.error("%s", error)
            return 1
        finally:
            _drain(link, cfg.actor.drain_s)
    return stop.exit_code


def _open_link(cfg: Config, task: Task, session: str, journal: Journal) -> Link:
    mark, flat = fingerprint(cfg)
    link = Link(
        LinkConfig(
            address=cfg.actor.learner,
            actor=cfg.actor.id,
            session=session,
            journal=journal,
            fingerprint=mark,
            config=flat,
            schema=make_schema(task.observations, task.action.size, task.log_keys),
            lockstep=cfg.mode == "lockstep",
            run=cfg.run_name,
            heartbeat_s=cfg.wire.heartbeat_s,
            resend_s=cfg.wire.resend_s,
            liveness_s=cfg.wire.liveness_s,
            max_in_flight=cfg.wire.max_in_flight,
        )
    )
    link.start()
    return link


def draws_from(actor: str, steps: int) -> int:
    """Which random numbers a session draws, by its actor and the run's control steps so far.

    A resumed session must repeat neither the first one's episodes nor its random actions, and no
    actor those of another. Actor 0, most often the only one, begins at `steps` itself.
    """
    return steps + (0 if actor == "0" else zlib.crc32(actor.encode()))


def stall_s(cfg: Config, rate_hz: float) -> float:
    """The time without a control step after which the watchdog stops the body."""
    return cfg.actor.watchdog_s or max(STALL_S, STALL_PERIODS / rate_hz)


def _await_learner(cfg: Config, link: Link, stop: StopFlag, progress: Progress) -> None:
    """Give the learner a moment to answer. Raises WireError when it refuses this actor."""
    patience_s = TURN_PATIENCE_S if cfg.mode == "lockstep" else HELLO_WAIT_S
    end_s = time.monotonic() + patience_s
    while not stop() and time.monotonic() < end_s:
        status = link.status
        if status.refused is not None:
            raise WireError(
                f"the learner at {cfg.actor.learner} refuses this actor: {status.refused}. "
                "Start both with the same run, task, size, mode and version of this program."
            )
        if progress.heard(status):
            return
        stop.wait(0.02)
    if cfg.mode == "lockstep" and not stop():
        raise TurnError(
            f"no learner answers at {cfg.actor.learner}. In lockstep the actor cannot go on alone: "
            "start `daydreamer learner` first, or use mode=async."
        )
    log.warning(
        "no learner answers at %s yet; the robot starts without it, its rows wait in the journal",
        cfg.actor.learner,
    )


def _drive(
    cfg: Config,
    task: Task,
    robot: Robot,
    session: str,
    link: Link,
    progress: Progress,
    stop: StopFlag,
    folder: Path,
) -> None:
    rate_hz = robot.spec.control_hz
    begins_at = draws_from(cfg.actor.id, progress.total(0))
    if isinstance(robot, EpisodicBody):
        robot.skip(begins_at)
    runner = PolicyRunner(
        partial(NumpyPolicy, cfg.agent, task.observations, task.action),
        task.observations,
        task.action,
        seed=cfg.seed + begins_at,
        random_until_policy=cfg.actor.random_until_policy,
        max_policy_age_s=cfg.actor.max_policy_age_s or float("inf"),
        on_old_policy=cfg.actor.on_old_policy,
    )
    safety = Safety(cfg.actor.safety, robot.spec)
    recorder = Recorder(
        make_schema(task.observations, task.action.size, task.log_keys),
        run=cfg.run_name,
        actor=cfg.actor.id,
        session=session,
        chunk_rows=cfg.actor.chunk_rows,
        # Age is wall time: in lockstep it would make runs differ.
        chunk_age_s=float("inf") if cfg.mode == "lockstep" else cfg.actor.chunk_age_s,
        send=link.send,
    )
    clock = ControlClock(1 / rate_hz, realtime=cfg.actor.realtime)
    # As fast as it can, a twin has no rate to keep and a wait is no stall.
    watchdog = Watchdog(stall_s(cfg, rate_hz), robot.stop) if cfg.actor.realtime else None
    beat: Callable[[], None] = (lambda: None) if watchdog is None else watchdog.beat

    def gauges() -> dict[str, float]:
        status = link.status
        return {
            "actor/total_steps": progress.total(loop.steps),
            "actor/policy_version": runner.version,
            "actor/version_lag": max(0, status.newest_version_seen - runner.version),
            "actor/policies_refused": runner.refused + status.bad_weights,
            "actor/late_steps": clock.late_steps,
            **{f"actor/late_{stage}": n for stage, n in clock.late_by_stage.copy().items()},
            "actor/safety_events": sum(safety.counts.values()),
            **{f"actor/safety_{rule}": n for rule, n in safety.counts.items() if n},
            "actor/stalls": 0 if watchdog is None else watchdog.stalls,
            "actor/connected": status.connected,
            "actor/refused": status.refused is not None,
            "actor/journal_chunks": status.journal_chunks,
            "actor/journal_bytes": status.journal_bytes,
            "actor/chunks_dropped": status.dropped,
        }

    def over() -> bool:
        if not progress.is_known:
            progress.heard(link.status)
        return stop() or progress.is_reached(loop.steps)

    with MetricsLog(folder / "metrics.jsonl") as metrics:
        report = Report(metrics, session, gauges)
        loop = ControlLoop(
            robot=robot,
            task=task,
            runner=runner,
            safety=safety,
            recorder=recorder,
            clock=clock,
            report=report.add,
            beat=beat,
            stalls=lambda: 0 if watchdog is None else watchdog.stalls,
        )
        kept = None if cfg.mode == "lockstep" else KeptWeights(folder)
        version = _first_policy(link, runner, kept, stop)
        if kept is None:
            turns = Turns(
                link,
                recorder,
                runner,
                rows=cfg.actor.lockstep_rows,
                version=version,
                lost_after_s=TURN_PATIENCE_S,
                stop=stop,
                beat=beat,
            )
            with _running(report, watchdog):
                loop.run(over, turns)
                turns.finish()
        else:
            if version == NO_POLICY and not link.status.connected:
                _start_from(kept, runner)
            loader = WeightsLoader(link.newest_weights, runner, keep=kept.keep)
            with contextlib.closing(kept), _running(report, watchdog, loader):
                # A robot waits for nobody; a twin as fast as it can would outrun its learner.
                pace = None if cfg.actor.realtime else CatchUp(link, recorder, stop=stop)
                loop.run(over, pace or (lambda: None))
    _conclude(clock, loop.steps, progress)


def _first_policy(
    link: Link, runner: PolicyRunner, kept: KeptWeights | None, stop: StopFlag
) -> int:
    """Load the learner's policy, if it has one, before the robot moves. Its version, or -1."""
    end_s = time.monotonic() + POLICY_WAIT_S
    while link.status.newest_version_seen > NO_POLICY and not stop() and time.monotonic() < end_s:
        weights = link.wait_weights(0, 0.1)
        if weights is not None:
            if not runner.load(weights):
                return NO_POLICY
            if kept is not None:
                kept.keep(weights)
            return weights.version
    return NO_POLICY


def _start_from(kept: KeptWeights, runner: PolicyRunner) -> None:
    """Without a learner, begin with the policy of last time; the learner's own replaces it."""
    if (found := kept.read()) is None:
        return
    weights, age_s = found
    if runner.load(weights, age_s):
        log.info("starting from policy version %d, kept %.0f s ago", weights.version, age_s)


@contextlib.contextmanager
def _running(
    report: Report, watchdog: Watchdog | None, loader: WeightsLoader | None = None
) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        report.start()
        stack.callback(report.close)
        if watchdog is not None:
            stack.enter_context(watchdog)
        if loader is not None:
            loader.start()
            stack.callback(loader.close)
        yield


def _conclude(clock: ControlClock, steps: int, progress: Progress) -> None:
    log.info("%d control steps in this session, %d in the run", steps, progress.total(steps))
    if clock.late_steps:
        worst = ", ".join(f"{n} in {stage}" for stage, n in clock.late_by_stage.most_common(3))
        log.info(
            "%d steps were late (%.1f %%): %s",
            clock.late_steps,
            100 * clock.late_steps / steps,
            worst,
        )


def _drain(link: Link, drain_s: float) -> None:
    if link.close(drain_s):
        return
    status = link.status
    log.warning(
        "%d chunks (%d bytes) are not acknowledged. They are safe in the journal and leave when an "
        "actor with the same run and id is started next.",
        status.journal_chunks,
        status.journal_bytes,
    )
