"""Rounds: every contestant does one update in turn, and what disturbed it does not count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from daydreamer.bench.guard import OTHERS_LIMIT
from daydreamer.bench.peers.contestants import Contestant
from daydreamer.bench.peers.worker import Worker, WorkerError
from daydreamer.cores import OtherLoad

QUIET_LOOK_S = 1.0
ACT_WARM_STEPS = 20

Say = Callable[[str], None]


@dataclass(frozen=True)
class Rules:
    """How long, how often, how quiet."""

    rounds: int = 7  # with each peer
    tries: int = 4  # of a step, until one was undisturbed
    max_others: float = OTHERS_LIMIT  # share of the cores that others may take during a step
    quiet_wait_s: float = 30.0  # after a disturbed step, at most
    warm_updates: int = 3  # before the first round
    warm_limit_s: float = 600.0  # for building, compiling and the updates that warm up
    step_limit_s: float = 300.0
    act_steps: int = 5000  # policy steps a block, of a second or so; 0: no policy is timed
    threads: int = 2  # of an update; a policy step has one

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for key in ("rounds", "tries", "warm_updates", "threads"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key}={getattr(self, key)}: choose at least 1")
        if not 0 < self.max_others <= 1:
            raise ValueError(f"max_others={self.max_others}: choose a share from 0 to 1, e.g. 0.06")


@dataclass(frozen=True)
class Step:
    """One update, or one block of policy steps (act), as it went."""

    contestant: str
    against: str  # the peer that was there
    round: int
    wall_s: float
    cpu_s: float
    others: float | None  # share of the cores that others took; None: nothing tells
    is_clean: bool
    p50_ms: float | None = None  # of a policy step
    p99_ms: float | None = None


@dataclass
class Entry:
    """What is known of one contestant besides its steps."""

    peer: str
    setting: str
    is_default: bool
    versions: Mapping[str, str] = field(default_factory=dict)
    build_s: float = 0.0
    warm_s: list[float] = field(default_factory=list)  # each of the updates before the rounds
    peak_mib: float | None = None  # of the process that updates
    failure: str = ""  # why it did not finish


@dataclass
class Results:
    """Everything a table is made of; plain data once asdict() has seen it."""

    workload: str
    machine: Mapping[str, object]
    rules: Rules
    contestants: dict[str, Entry] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    acts: list[Step] = field(default_factory=list)


def compete(
    contestants: Sequence[Contestant], results: Results, say: Say, save: Callable[[Results], None]
) -> None:
    """Fill `results`: ours stay for all rounds, the peers come one after another.

    So no more than ours and one peer are in memory at once, and each pair alternates. A peer that
    fails is recorded and left; ours must not. Raises WorkerError.
    """
    ours = [c for c in contestants if c.is_ours]
    with ExitStack() as stack:
        home = [stack.enter_context(_ready(c, results, say)) for c in ours]
        for visitor in (c for c in contestants if not c.is_ours):
            try:
                with _ready(visitor, results, say) as guest:
                    _alternate([*home, guest], visitor.name, results, say, save)
                _time_policies([*ours, visitor], visitor.name, results, say)
            except WorkerError as error:
                if error.name != visitor.name:
                    raise
                results.contestants[visitor.name].failure = str(error)
                say(f"{visitor.name} is out: {error}")
            save(results)


@contextmanager
def _ready(contestant: Contestant, results: Results, say: Say) -> Iterator[Worker]:
    """A worker that is built and warm; closed in the end."""
    rules = results.rules
    entry = Entry(contestant.peer, contestant.setting, contestant.is_default)
    results.contestants[contestant.name] = entry
    start_s = time.monotonic()

    def left_s() -> float:
        return max(1.0, rules.warm_limit_s - (time.monotonic() - start_s))

    with closing(Worker(contestant, rules.threads)) as worker:
        entry.versions = worker.build(left_s())["versions"]
        entry.build_s = time.monotonic() - start_s
        for _ in range(rules.warm_updates):
            answer = worker.ask({"do": "update"}, left_s())
            entry.warm_s.append(answer["wall_s"])
            entry.peak_mib = answer["peak_mib"]
        say(f"{contestant.name}: ready after {time.monotonic() - start_s:.0f} s")
        yield worker


def _alternate(
    workers: Sequence[Worker],
    against: str,
    results: Results,
    say: Say,
    save: Callable[[Results], None],
) -> None:
    for number in range(results.rules.rounds):
        # Whoever goes first in one round goes last in the next.
        first = number % len(workers)
        for worker in [*workers[first:], *workers[:first]]:
            tries = _tries(worker, {"do": "update"}, against, number, results.rules, say)
            for answer, step in tries:
                results.steps.append(step)
                results.contestants[step.contestant].peak_mib = answer["peak_mib"]
        save(results)


def _time_policies(
    contestants: Sequence[Contestant], against: str, results: Results, say: Say
) -> None:
    """In processes of their own, as one thread is a matter of a process's environment."""
    rules = results.rules
    for contestant in contestants if rules.act_steps else ():
        with closing(Worker(contestant, threads=1)) as worker:
            worker.build(rules.warm_limit_s)
            worker.ask({"do": "act", "steps": ACT_WARM_STEPS}, rules.warm_limit_s)
            request = {"do": "act", "steps": rules.act_steps}
            for _, step in _tries(worker, request, against, 0, rules, say):
                results.acts.append(step)


def _tries(
    worker: Worker,
    request: Mapping[str, object],
    against: str,
    number: int,
    rules: Rules,
    say: Say,
) -> Iterator[tuple[dict[str, Any], Step]]:
    """The same request until one was undisturbed, each with its answer."""
    for _ in range(rules.tries):
        others = OtherLoad(own_s=lambda: time.process_time() + worker.cpu_s)
        before_s = worker.cpu_s
        answer = worker.ask(request, rules.step_limit_s)
        busy = others.look()
        share = None if busy is None else busy / others.cores
        step = Step(
            worker.contestant.name,
            against,
            number,
            wall_s=answer["wall_s"],
            cpu_s=worker.cpu_s - before_s,
            others=share,
            is_clean=share is None or share <= rules.max_others,
            p50_ms=answer.get("p50_ms"),
            p99_ms=answer.get("p99_ms"),
        )
        say(_line(step))
        yield answer, step
        if step.is_clean:
            return
        _wait_for_quiet(rules)


def _wait_for_quiet(rules: Rules) -> None:
    """Until others leave the cores alone for a second, at most quiet_wait_s."""
    end_s = time.monotonic() + rules.quiet_wait_s
    while time.monotonic() < end_s:
        others = OtherLoad()
        time.sleep(QUIET_LOOK_S)
        if (others.look() or 0.0) / others.cores <= rules.max_others:
            return


def _line(step: Step) -> str:
    took = f"{step.wall_s:.3f} s" if step.p50_ms is None else f"{step.p50_ms:.3f} ms a policy step"
    others = "" if step.others is None else f", others took {100 * step.others:.0f} % of the cores"
    verdict = "" if step.is_clean else ": does not count"
    return f"{step.against} {step.round + 1}: {step.contestant} {took}{others}{verdict}"
