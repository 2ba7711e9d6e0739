"""`python -m daydreamer.bench.peers workload=W1 out=FILE`: compete, save each round, print tables.

`show=FILE` prints the tables of an earlier run; `doc=FILE.md`, with either, puts them into a
document.
Words: workload, contestants=a,b,c, agent.KEY=VALUE, and the fields of Rules.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from daydreamer.bench.peers import tables
from daydreamer.bench.peers.contestants import catalogue, check_words, pick
from daydreamer.bench.peers.rounds import Results, Rules, compete
from daydreamer.bench.peers.worker import WorkerError
from daydreamer.bench.workloads import choose
from daydreamer.config.errors import ConfigError
from daydreamer.config.overrides import parse, split
from daydreamer.config.typed import build, field_types
from daydreamer.cores import available_cores

CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Job:
    """What to compare, and where to put what is found."""

    workload: str = "W1"
    contestants: str = ""  # names with commas between; none: all of them
    peers: str = ".venv-peers/bin/python"
    out: str = ""
    show: str = ""
    doc: str = ""


def main(words: Sequence[str]) -> int:
    """Returns the exit code."""
    try:
        job, rules, agent_words = _parse(words)
        plain = (
            json.loads(Path(job.show).read_text()) if job.show else _run(job, rules, agent_words)
        )
        sys.stdout.write(f"\n{plain['workload']}\n\n{tables.table(plain)}\n")
        if job.doc:
            document = Path(job.doc)
            document.write_text(tables.fill(document.read_text(), plain))
    except (ConfigError, WorkerError, OSError, ValueError) as error:
        sys.stderr.write(f"bench peers: {error}\n")
        return 1
    return 0


def _parse(words: Sequence[str]) -> tuple[Job, Rules, list[str]]:
    known = field_types(Job) | field_types(Rules)
    agent = [word for word in words if word.startswith("agent.")]
    given = split([word for word in words if word not in agent])
    values = {key: parse(key, text, known) for key, text in given.values.items()}
    of_job = {key: value for key, value in values.items() if key in field_types(Job)}
    of_rules = {key: value for key, value in values.items() if key not in of_job}
    return build(Job, of_job, ""), build(Rules, of_rules, ""), agent


def _run(job: Job, rules: Rules, agent_words: Sequence[str]) -> dict[str, object]:
    check_words(agent_words)
    (workload,) = choose([f"workload={job.workload}", *agent_words])
    # The environment's python is a link to another: following it would leave the environment.
    found = catalogue(workload, agent_words, Path.cwd() / job.peers)
    contestants = pick(found, job.contestants.split(",") if job.contestants else list(found))
    results = Results(workload.name, _machine(), rules)

    def save(so_far: Results) -> None:
        if job.out:
            path = Path(job.out)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(dataclasses.asdict(so_far), indent=1) + "\n")

    compete(contestants, results, _say, save)
    plain: dict[str, object] = json.loads(json.dumps(dataclasses.asdict(results)))
    return plain


def _machine() -> dict[str, object]:
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else "unknown processor", "cores": available_cores()}


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
