"""`daydreamer sweep run=FOLDER seeds=0..4 agent.discount=0.98,0.995 ...`: all of it in one folder.

# sweep ---- starts ----> dryrun (FOLDER/LABEL/seedK) ---- starts ----> learner, actor
#
# interrupted, or killed      -> every child ends; the same command goes on with what is not done
# a run fails                 -> the others go on; its last words are shown at the end
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daydreamer.config.errors import ConfigError
from daydreamer.config.loading import load
from daydreamer.config.runs import FILE
from daydreamer.config.schema import LearnerConfig
from daydreamer.cores import available_cores
from daydreamer.dryrun import program_name
from daydreamer.process import StopFlag, claim
from daydreamer.sweep.display import SweepDisplay
from daydreamer.sweep.folder import merge, runs_done, save_record, save_state
from daydreamer.sweep.runner import Run, Sweep
from daydreamer.sweep.summary import Result, draw, last_return, table
from daydreamer.sweep.words import read_words, seeds_of, variants

if TYPE_CHECKING:
    from daydreamer.config import Config

log = logging.getLogger(__name__)

# Until what a killed sweep left behind has ended: a dry run's grace as an orphan, its children's.
ORPHANS_S = 60.0


def main(words: Sequence[str]) -> int:
    """Run the command; returns its exit code. Raises ConfigError before anything is started."""
    asked = read_words(words)
    folder = asked.folder
    if (folder / FILE).is_file():
        raise ConfigError(f"run={folder} is a run by itself. Choose another folder for the sweep.")
    # What is refused is refused before a folder is made.
    planned, _ = merge(folder, asked.words)
    plan = _plan(folder, planned, asked.jobs)
    stop = StopFlag().install()
    with claim(folder, "a sweep", "choose another run=FOLDER"):
        # Again, now that nobody else writes: another sweep may have added to the record and ended.
        merged, changes = merge(folder, asked.words)
        if merged != planned:
            plan = _plan(folder, merged, asked.jobs)
        for change in changes:
            log.warning("changed since the sweep began: %s", change)
        for run in plan.runs:
            _await_orphans(run, stop)
        save_record(folder, merged)
        finished = runs_done(folder)
        for run in plan.runs:
            if (run.label, run.seed) in finished and run.is_complete:
                run.state = "done"
        with contextlib.closing(SweepDisplay()) as display:
            display.note(_welcome(plan, folder))
            sweep = Sweep(plan.runs, plan.jobs, display, stop, lambda runs: _save(folder, runs))
            try:
                sweep.run()
            except KeyboardInterrupt:  # a second Ctrl-C
                stop.set()
            finally:
                sweep.end()
        sys.stdout.write("\n".join(_farewell(folder, plan.runs)) + "\n")
    failed = [run for run in plan.runs if run.state == "failed"]
    for run in failed:
        sys.stderr.write(f"\ndaydreamer sweep: {run.label} seed {run.seed} failed: {run.message}\n")
    return stop.exit_code or (1 if failed else 0)


@dataclasses.dataclass(frozen=True)
class _Plan:
    runs: list[Run]
    jobs: int  # at a time


def _plan(folder: Path, words: dict[str, str], jobs: int | None) -> _Plan:
    """Every run that was asked for, its config checked. Raises ConfigError."""
    seeds = seeds_of(words["seeds"])
    found = variants(words)
    jobs = min(jobs or available_cores(), len(found) * len(seeds))
    share = max(1, available_cores() // jobs)
    runs: list[Run] = []
    for variant in found:
        for seed in seeds:
            run_folder = folder / variant.label / f"seed{seed}"
            run_words = [*variant.words, f"run={run_folder}", f"seed={seed}"]
            if seed == seeds[0]:
                config = load(run_words)
            else:  # a seed changes nothing that could be wrong
                config = dataclasses.replace(config, run=str(run_folder), seed=seed)
            check(config, jobs)
            if "learner.threads" not in words:
                run_words.append(f"learner.threads={1 if config.mode == 'lockstep' else share}")
            runs.append(Run(variant.label, seed, run_words, config))
    # Every variant's first seed before any second one: they can be compared the sooner.
    return _Plan(sorted(runs, key=lambda run: seeds.index(run.seed)), jobs)


def check(config: Config, jobs: int) -> None:
    """Refuse runs that cannot be part of a sweep. Raises ConfigError."""
    if config.steps == 0:
        raise ConfigError("steps=0 has no end; a sweep's runs need one: steps=20000.")
    bind = config.learner.bind
    if jobs > 1 and bind != LearnerConfig.bind and not bind.endswith(":*"):
        raise ConfigError(
            f"learner.bind={bind} is one address, and {jobs} learners would run at a time: leave "
            "it out, give it port * (any free one), or write jobs=1."
        )
    if jobs > 1 and config.body.option == config.task.bodies.get("hardware"):
        raise ConfigError(f"body={config.body.option} is one robot: write jobs=1.")


def _await_orphans(run: Run, stop: StopFlag) -> None:
    """Until nothing of a sweep that was killed holds the run's folders. Raises ConfigError."""
    end_s = time.monotonic() + ORPHANS_S
    for folder in (run.folder, run.folder / "learner", run.folder / f"actor-{run.config.actor.id}"):
        while folder.is_dir():
            try:
                with claim(folder, "a dry run", "choose another run=FOLDER", wait_s=0.5):
                    break
            except ConfigError:
                if stop():
                    return
                if time.monotonic() > end_s:
                    raise


def _save(folder: Path, runs: Sequence[Run]) -> None:
    try:
        save_state(folder, [run.record() for run in runs])
    except OSError as error:  # the runs know by themselves how far they are
        log.warning("the sweep's state was not written: %s", error)


def _welcome(plan: _Plan, folder: Path) -> str:
    labels = len({run.label for run in plan.runs})
    done = sum(run.state == "done" for run in plan.runs)
    seeds = len(plan.runs) // labels
    text = f"{len(plan.runs)} runs in {folder}: {labels} label(s), {seeds} seed(s), "
    return text + f"{plan.jobs} at a time" + (f"; {done} are done already" if done else "")


def _farewell(folder: Path, runs: Sequence[Run]) -> list[str]:
    """The table, the picture, and what to type next."""
    results = [
        Result(run.label, run.seed, run.state, run.steps, run.config.steps, last_return(run.folder))
        for run in runs
    ]
    lines = ["", table(results), "", draw(folder)]
    if any(run.state != "done" for run in runs):
        lines.append(f"the rest goes on with: {program_name()} sweep run={folder}")
    return lines
