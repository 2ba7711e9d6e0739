"""Random policy and SAC (stable-baselines3) on a task, under the conditions that ours has there.

    python -m sim.baselines --task a1_walk --agent sac --steps 36000 --seed 0 --out DIR
    python -m sim.baselines --task dmc --name walker_walk --agent sac --steps 50000 --out DIR
    python -m sim.baselines --task gym --id Pendulum-v1 --agent random --steps 2000 --out DIR

The A1 is not reset unless asked: an episode of 250 steps begins where the last one was cut. Writes
DIR/config.json and DIR/metrics.jsonl, a line per episode over robot time, for `daydreamer plot`.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robots.a1.config import A1WalkConfig
from robots.base import RobotError
from sim.a1.config import STARTS, A1TwinConfig
from sim.baselines.agents import check, run_random, run_sac
from sim.baselines.episodes import EpisodeLog, Logged
from sim.envs.config import DMCConfig, EnvConfig, GymConfig
from sim.gym_env import A1WalkEnv
from sim.task_env import TaskEnv

# Which option belongs to which task.
_OWN = {"name": "dmc", "id": "gym", "start": "a1_walk", "reset": "a1_walk"}


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted."""
    parser = _parser()
    args = parser.parse_args(argv)
    for option, task in _OWN.items():
        if getattr(args, option) is not None and args.task != task:
            parser.error(f"--{option} belongs to --task {task}, not to {args.task}")
    if args.repeat is not None and args.task == "a1_walk":
        parser.error("--repeat belongs to --task dmc or gym, not to a1_walk")
    try:
        env, options = _make(args)
        check(args.agent, env)
    except (RobotError, ValueError) as error:  # the latter of a task's or body's own keys
        sys.stderr.write(f"{error}\n")
        return 1
    config = {**vars(args), "out": str(args.out), "task_option": args.task, **options}
    try:
        with EpisodeLog(args.out, config, args.steps, env.control_hz, sys.stderr) as episodes:
            logged = Logged(env, episodes)
            if args.agent == "random":
                run_random(logged, args.steps, args.seed)
            else:
                run_sac(
                    logged,
                    args.steps,
                    args.seed,
                    prefill=args.prefill,
                    updates_per_step=args.updates_per_step,
                    threads=args.threads,
                )
    except FileExistsError:
        sys.stderr.write(f"{args.out} already holds a run: choose another --out or move it away\n")
        return 1
    except (OSError, RobotError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        env.close()
    return 0


def _make(args: argparse.Namespace) -> tuple[TaskEnv, dict[str, Any]]:
    """The environment, and what config.json says of it beside the arguments."""
    if args.task == "a1_walk":
        twin = A1TwinConfig(start=args.start or "back", seed=args.seed)
        walk = A1WalkConfig(orientation="up")  # as configs/task/a1_walk.yaml
        options = {"twin": dataclasses.asdict(twin), "task": dataclasses.asdict(walk)}
        return A1WalkEnv(reset=args.reset or "keep", twin=twin, task=walk), options
    task: DMCConfig | GymConfig = DMCConfig() if args.task == "dmc" else GymConfig()
    word = "name" if args.task == "dmc" else "id"
    given = {word: getattr(args, word), "repeat": args.repeat}
    task = dataclasses.replace(task, **{key: x for key, x in given.items() if x is not None})
    body = EnvConfig(seed=args.seed)
    options = {"twin": dataclasses.asdict(body), "task": dataclasses.asdict(task)}
    return TaskEnv(task.build(), body.build_for(task)), options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sim.baselines", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--task", choices=("a1_walk", "dmc", "gym"), required=True)
    parser.add_argument("--name", help="dmc: e.g. walker_walk; default cartpole_swingup")
    parser.add_argument("--id", help="gym: default Pendulum-v1")
    parser.add_argument("--repeat", type=_count, help="dmc, gym: as task.repeat")
    parser.add_argument("--agent", choices=("random", "sac"), required=True)
    parser.add_argument("--steps", type=_count, required=True, help="control steps")
    parser.add_argument("--seed", type=_seed, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a folder without a run")
    parser.add_argument("--start", choices=STARTS, help="a1_walk: default back")
    parser.add_argument("--reset", choices=("keep", "start"), help="a1_walk: default keep")
    parser.add_argument(
        "--prefill", type=_count, default=1000, help="random steps before SAC learns"
    )
    parser.add_argument("--updates-per-step", type=_count, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of torch; 0 leaves it to torch")
    return parser


def _count(text: str) -> int:
    return _at_least(1, text)


def _seed(text: str) -> int:
    return _at_least(0, text)


def _at_least(smallest: int, text: str) -> int:
    if not text.removeprefix("-").isdecimal() or int(text) < smallest:
        raise argparse.ArgumentTypeError(f"{text}: a whole number, at least {smallest} expected")
    return int(text)
