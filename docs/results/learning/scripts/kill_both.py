"""A dry run whose learner and actor are killed (SIGKILL) in turn, again and again.

    python docs/results/learning/scripts/kill_both.py --every 2000 run=DIR task=a1_walk ...

Every `--every` control steps one of the two is killed, the learner first, then the actor. A dry run
starts what was killed again, up to five times each; when it gives up, it is started again with the
same words, as a person would. Writes RUN/kills.json: when, at which step, whom.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil

POLL_S = 1.0
GRACE_S = 60.0


def main() -> int:
    """Exit code of the last dry run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=2000, help="control steps between two kills")
    parser.add_argument("--starts", type=int, default=20, help="of the dry run, at most")
    args, words = parser.parse_known_args()
    run = Path(next(word for word in words if word.startswith("run=")).removeprefix("run="))
    kills: list[dict[str, object]] = []
    due, code = args.every, 1
    for _ in range(args.starts):
        dry = subprocess.Popen([sys.executable, "-m", "daydreamer", "dryrun", *words])
        try:
            while dry.poll() is None:
                time.sleep(POLL_S)
                step = steps_driven(run)
                if step < due:
                    continue
                whom = ("learner", "actor")[len(kills) % 2]
                if kill(dry.pid, whom):
                    kills.append({"time": time.time(), "step": step, "killed": whom})
                    (run / "kills.json").write_text(json.dumps(kills, indent=1) + "\n")
                    due = step + args.every
            code = dry.returncode
        finally:
            if dry.poll() is None:
                dry.terminate()
                dry.wait(GRACE_S)
        if code in (0, 130):
            break
    return code


def steps_driven(run: Path) -> int:
    """The newest count in the actor's metrics, 0 without any."""
    newest = 0
    for path in run.glob("actor-*/metrics.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines()[-20:]:
            try:
                newest = max(newest, int(json.loads(line).get("actor/total_steps", 0)))
            except json.JSONDecodeError:  # the line that was being written when it was killed
                continue
    return newest


def kill(parent: int, verb: str) -> bool:
    """SIGKILL the dry run's child that runs `verb`; False when there is none just now."""
    for child in psutil.Process(parent).children():
        try:
            if verb in child.cmdline():
                child.kill()
                return True
        except psutil.NoSuchProcess:
            continue
    return False


if __name__ == "__main__":
    sys.exit(main())
