"""What `daydreamer` can do: one entry a verb. Heavy imports happen when a verb runs, not before."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass

from daydreamer.config.describe import describe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Verb:
    """One command: `target` is module:function and takes the words after the verb.

    With `of_run` it takes the run's Config instead. --help shows usage, text and `sections`.
    """

    target: str
    summary: str
    usage: str
    text: str = ""
    sections: tuple[str, ...] = ()
    of_run: bool = False

    def run(self, words: list[str]) -> int:
        """Do it; returns the exit code."""
        module, _, function = self.target.partition(":")
        if not self.of_run:
            return int(getattr(importlib.import_module(module), function)(words))

        from daydreamer.config import open_run

        config, changes = open_run(words)
        for change in changes:
            log.warning("changed since the run began: %s", change)
        return int(getattr(importlib.import_module(module), function)(config))

    def help(self) -> str:
        """The answer to `daydreamer VERB --help`."""
        parts = [f"usage: daydreamer {self.usage}", self.summary]
        if self.text:
            parts.append(self.text)
        if self.sections:
            parts.append(describe(self.sections))
        return "\n\n".join(parts)


_RUN = """Groups are chosen as task=NAME body=twin|hardware|log size=debug|small|paper; keys are set
as key=value, e.g. learner.batch=16 task.episode_steps=500 body.start=standing. `daydreamer tasks`
lists the tasks; task=dmc task.name=walker_walk, task=gym task.id=Pendulum-v1 and task=atari
task.game=boxing are environments. When run=DIR holds a run, it goes on from where it was, settings
included."""

_BENCH = """  twin task=NAME   control steps a second of the body alone: dmc task.name=walker_walk
  learner          a full update: seconds, arithmetic, memory, start-up. device=cpu|cuda rounds=7
                   threads=N; neighbour=1: beside a busy process and without, in turns
  actor            the policy's step on one thread, its start-up and memory
  replay           the replay memory: rows in and out, and what arriving rows cost a learner
  wire             rows and policies over loopback, what they weigh, what fewer bits change
  workload=NAMES   W1 (A1, 36 floats), W2 (64x64 camera), W2-64, W1-small, W2-small, by commas
  agent.KEY=VALUE  laid over the workload, e.g. agent.precision=fp32
  --json           a list of objects with workload, metric, unit, median, min, max, n"""

_EVAL = """  run=DIR          the run to look at: its newest checkpoint, its config
  episodes=3       how many; each starts from the body's start pose
  mode=mode        the policy's likeliest action; mode=sample draws as in training
  video=true       film a twin: video.mp4 and contact_sheet.png in RUN/eval/<policy version>/
  seed=N           of the first episode, counting up (default: the run's)
  body=NAME        another body than the run's: twin, hardware
  task=NAME        only the run's own task fits; its keys can be set: task.episode_steps=500
  key=value        any key of the run, e.g. body.start=standing actor.safety.tilt=stop

Figures go to RUN/eval/<policy version>/results.json. Ctrl-C brings the body to rest."""

_SWEEP = """  run=FOLDER       holds everything: FOLDER/<label>/seed<k> is a run like any other
  seeds=0,1,2      a list, or a range: 0..4 is five seeds; seeds=3 is seed 3 alone (default: 0,1,2)
  jobs=N           runs at a time (default: one for each core this process may use)
  key=A,B          several values, by commas: every combination is run with every seed. A value
                   with commas of its own goes in brackets or quotes: agent.x=[1,2],[3,4]
  key=value        anything else that `daydreamer dryrun` takes, the same for every run

Each run is a `daydreamer dryrun` in a process of its own, which logs to FOLDER/<label>/seed<k>.log.
The label is the values that vary, e.g. discount=0.98, or the task's name where none does. Unless
learner.threads= is given, runs share the cores; with mode=lockstep each has one thread.

The same command goes on where it stopped, as does `daydreamer sweep run=FOLDER` alone; what is done
is skipped. Seeds, values and steps can be added later; other words are refused in the same FOLDER.
A run that fails stops no other. At the end, and at Ctrl-C: FOLDER/curve.png, curve.csv, a table.
FOLDER/sweep.yaml has words and versions, FOLDER/sweep.json the state of each run."""

_PLOT = """  [LABEL=]DIR          a run, a folder of runs (its seeds), a sweep (each of its labels),
                       or a baseline's JSONL file; several with one label are drawn as
                       mean, minimum to maximum
  -o, --output FILE    the picture (.png, .svg, .pdf); its numbers go beside it, as .csv
  --x minutes|steps    robot time (default), or control steps times --repeat
  --y reward|return    reward per step (default), or the return of an episode
  --repeat N           environment steps in a control step (default: the run's task.repeat, else 1)
  --smooth X           average over so much of the x axis before each point (default: 1 minute, or
                       a 25th of the longest run's steps)
  --label-by HOW       group runs under their own name or their parent folder's:
                       name, parent, or auto (default)
  --guide HEIGHT:TEXT  a horizontal line, e.g. 8.5:standing; may be repeated
  --title TEXT         written above the curves"""

VERBS: dict[str, Verb] = {
    "dryrun": Verb(
        "daydreamer.dryrun:main",
        "learner and actor as two processes over the real wire, a twin as body, live status",
        "dryrun task=NAME [steps=N] [run=DIR] [mode=async|lockstep] [group=option] [key=value] ...",
        _RUN
        + """ It
ends at `steps` control steps; Ctrl-C ends it cleanly; the same run=DIR resumes. The agent's keys:
`daydreamer learner --help`; the safety rules, actor.safety.*: `daydreamer actor --help`.""",
        ("run", "learner", "actor", "wire"),
        of_run=True,
    ),
    "sweep": Verb(
        "daydreamer.sweep.main:main",
        "dry runs over seeds and values, in parallel, in one folder, in one plot",
        "sweep run=FOLDER task=NAME [seeds=0,1,2] [jobs=N] [key=A,B] [key=value] ...",
        _SWEEP,
    ),
    "learner": Verb(
        "daydreamer.learner.main:main",
        "the learner alone: stores experience, trains, publishes policies",
        "learner task=NAME run=DIR [bind=tcp://HOST:PORT] [insecure=true] [key=value] ...",
        _RUN
        + """
On several GPUs: `torchrun --nproc-per-node=N -m daydreamer learner ...`, docs/distributed.md.""",
        ("run", "learner", "agent", "wire"),
        of_run=True,
    ),
    "actor": Verb(
        "daydreamer.actor.main:main",
        "the actor alone: drives one body, streams its experience, follows new policies",
        "actor task=NAME [body=NAME] [learner=tcp://HOST:PORT] [id=NAME] [key=value] ...",
        _RUN,
        ("run", "actor", "actor.safety", "wire"),
        of_run=True,
    ),
    "eval": Verb(
        "daydreamer.telemetry.evaluate:eval_main",
        "the deterministic policy of a run on its body: returns, lengths, video",
        "eval run=DIR [episodes=N] [mode=mode|sample] [video=true|false] [key=value] ...",
        _EVAL,
    ),
    "info": Verb(
        "daydreamer.telemetry.info:info_main",
        "what a run has: rows, gaps, duplicates, policy version, late steps, returns",
        "info DIR [--json]",
        "Works while the run is going on, and writes the same to DIR/summary.json.\n"
        "Control steps stored are those in the archive; driven are also those still on their way\n"
        "and those that a killed actor took with it.",
    ),
    "plot": Verb(
        "daydreamer.telemetry.plot:plot_main",
        "learning curves over robot time or steps, several seeds",
        "plot [LABEL=]DIR ... -o FILE [--x steps] [--y return] [--smooth X] [--guide ...] ...",
        _PLOT,
    ),
    "replay": Verb(
        "daydreamer.replay_command:main",
        "check every checksum of a run's archive, and mend it",
        "replay verify DIR [--repair]",
        "DIR is a run's folder or its learner/replay. --repair keeps what is sound and sets the\n"
        "originals aside; the learner must not be running.",
    ),
    "bench": Verb(
        "daydreamer.bench.main:main",
        "figures for this machine, as medians with spread",
        "bench learner|actor|replay|wire|twin [--json] [workload=W1,W2] [key=value] ...",
        _BENCH,
    ),
    "tasks": Verb(
        "daydreamer.config.listing:tasks_main",
        "the tasks there are, their bodies, and the sizes",
        "tasks",
    ),
}
