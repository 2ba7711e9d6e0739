"""Random policy and SAC (stable-baselines3) on the A1 twin, under the robot's conditions.

    python -m sim.baselines.a1_walk --agent sac --steps 36000 --seed 0 --out DIR

No resets unless asked: an episode of 250 steps begins where the last one was cut. Writes
DIR/config.json and DIR/metrics.jsonl, a line per episode over robot time, for `daydreamer plot`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import gymnasium

from robots.a1.config import A1WalkConfig
from robots.a1.rate import CONTROL_HZ
from robots.base import FloatArray, RobotError
from sim.a1.config import STARTS, A1TwinConfig
from sim.gym_env import A1WalkEnv

_PROGRESS_S = 5.0
_WINDOW_STEPS = 1000
_ROLL_SEAM_RAD = 4.71  # as configs/task/a1_walk.yaml: a baseline sees what the agent sees


class EpisodeLog:
    """Appends a JSON line per episode, and keeps one line of progress on the terminal."""

    def __init__(self, folder: Path, config: Mapping[str, Any], steps: int, screen: TextIO) -> None:
        """Raises FileExistsError when `folder` holds a run: nothing is ever overwritten."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "metrics.jsonl").open("x", encoding="utf-8")
        text = json.dumps(config, indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        self._steps = steps
        self._screen = screen
        self._began_s = self._said_s = time.monotonic()
        self._step = 0
        self._recent: deque[float] = deque(maxlen=_WINDOW_STEPS)
        self._forget()

    def __enter__(self) -> EpisodeLog:
        """Ready to add."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Say where it ended, and close the file."""
        self._say()
        self._screen.write("\n")
        self._file.close()

    def add(self, reward: float, terms: Mapping[str, Any], is_last: bool) -> None:
        """One control step."""
        self._step += 1
        self._length += 1
        self._return += reward
        for key, value in terms.items():
            if isinstance(value, float):
                self._sums[key] += value
        self._recent.append(reward)
        if is_last:
            self._write()
            self._forget()
        if time.monotonic() - self._said_s > _PROGRESS_S:
            self._say()

    def _forget(self) -> None:
        self._length = 0
        self._return = 0.0
        self._sums: defaultdict[str, float] = defaultdict(float)

    def _write(self) -> None:
        line = {
            "time": time.time(),
            "step": self._step,
            "robot_seconds": self._step / CONTROL_HZ,
            "wall_seconds": round(time.monotonic() - self._began_s, 3),
            "return": self._return,
            "length": self._length,
            "reward_per_step": self._return / self._length,
            **{f"log_{key}": total / self._length for key, total in self._sums.items()},
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _say(self) -> None:
        self._said_s = time.monotonic()
        rate = self._step / max(self._said_s - self._began_s, 1e-9)
        mean = sum(self._recent) / max(len(self._recent), 1)
        self._screen.write(
            f"\rstep {self._step}/{self._steps}  robot {self._step / CONTROL_HZ / 60:.1f} min  "
            f"{rate:.0f} steps/s  reward/step {mean:.2f} (last {len(self._recent)})   "
        )
        self._screen.flush()


class Logged(gymnasium.Wrapper[FloatArray, FloatArray, FloatArray, FloatArray]):
    """Writes every step that passes through to an EpisodeLog."""

    def __init__(self, env: A1WalkEnv, episodes: EpisodeLog) -> None:
        """Neither is closed here."""
        super().__init__(env)
        self._episodes = episodes

    def step(self, action: FloatArray) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """As the environment's."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._episodes.add(float(reward), info, terminated or truncated)
        return obs, float(reward), terminated, truncated, info


def run_random(env: Logged, steps: int, seed: int) -> None:
    """Uniform random actions."""
    env.action_space.seed(seed)
    env.reset(seed=seed)
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()


def run_sac(env: Logged, args: argparse.Namespace) -> None:
    """SAC with stable-baselines3's defaults (two layers of 256), one update a step."""
    try:
        import torch
        from stable_baselines3 import SAC
    except ImportError as error:
        raise RobotError(
            f"SAC needs stable-baselines3 ({error}): pip install 'daydreamer[dev]'"
        ) from error
    if args.threads > 0:
        torch.set_num_threads(args.threads)
    model = SAC(
        "MlpPolicy",
        env,
        learning_starts=min(args.prefill, args.steps),
        gradient_steps=args.updates_per_step,
        seed=args.seed,
        device="cpu",
    )
    model.learn(total_timesteps=args.steps)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted."""
    args = _parser().parse_args(argv)
    twin = A1TwinConfig(start=args.start, seed=args.seed)
    task = A1WalkConfig(roll_seam_rad=_ROLL_SEAM_RAD)
    options = {"twin": dataclasses.asdict(twin), "task": dataclasses.asdict(task)}
    config = {**vars(args), "out": str(args.out), **options}
    env = A1WalkEnv(reset=args.reset, twin=twin, task=task)
    try:
        with EpisodeLog(args.out, config, args.steps, sys.stderr) as episodes:
            logged = Logged(env, episodes)
            if args.agent == "random":
                run_random(logged, args.steps, args.seed)
            else:
                run_sac(logged, args)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sim.baselines.a1_walk", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--agent", choices=("random", "sac"), required=True)
    parser.add_argument(
        "--steps", type=_count, required=True, help="control steps; 20 a robot second"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="a folder without a run")
    parser.add_argument("--start", choices=STARTS, default="back")
    parser.add_argument("--reset", choices=("keep", "start"), default="keep")
    parser.add_argument(
        "--prefill", type=_count, default=1000, help="random steps before SAC learns"
    )
    parser.add_argument("--updates-per-step", type=_count, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of torch; 0 leaves it to torch")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1 expected")
    return number


if __name__ == "__main__":
    sys.exit(main())
