"""When updates happen: as fast as the replay ratio allows, or in turns with the actor."""

from __future__ import annotations

from collections.abc import Callable

from daydreamer.learner.dreaming import Dreaming
from daydreamer.learner.housekeeping import Housekeeping
from daydreamer.learner.ingest import Ingest
from daydreamer.learner.threads import Threads
from daydreamer.learner.trainer import Trainer

IDLE_S = 0.1  # the longest nap while there is nothing to train on


def train_freely(
    trainer: Trainer,
    ingest: Ingest,
    housekeeping: Housekeeping,
    threads: Threads,
    dreaming: Dreaming,
    stop: Callable[[], bool],
) -> None:
    """Rows come when they come; updates follow, on the cores that are free."""
    while not stop():
        threads.adapt()
        if not train_once(trainer, dreaming):
            ingest.wait(IDLE_S)
        housekeeping.after_update()


def train_once(trainer: Trainer, dreaming: Dreaming) -> bool:
    """An update that rows have paid for, or else one that may be dreamed; False: neither."""
    if not dreaming.may_dream(trainer.agent.updates):
        return trainer.is_allowed() and trainer.update()
    is_done = trainer.dream()
    if is_done:
        dreaming.dreamed(trainer.agent.updates)
    return is_done


def train_in_turns(
    trainer: Trainer,
    ingest: Ingest,
    housekeeping: Housekeeping,
    grant: Callable[[str, int, int], None],
    stop: Callable[[], bool],
) -> None:
    """One chunk, the updates it allows, the policy, the turn: then the next chunk.

    grant: (session, sequence, version) lets an actor go on. A stop in the middle of a turn is
    harmless: its updates come first when the run goes on.
    """
    _finish_turn(trainer, housekeeping, stop)
    version = housekeeping.publish()
    for session, sequence in ingest.turns.items():
        grant(session, sequence, version)
    while not stop():
        housekeeping.keep_time()
        chunk = ingest.next_turn(IDLE_S)
        if chunk is None:
            continue
        _finish_turn(trainer, housekeeping, stop)
        if not stop():
            grant(chunk.session, chunk.sequence, housekeeping.publish())


def _finish_turn(trainer: Trainer, housekeeping: Housekeeping, stop: Callable[[], bool]) -> None:
    while not stop() and trainer.is_allowed() and trainer.update():
        housekeeping.keep_time()
