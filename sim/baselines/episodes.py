"""What a baseline writes down: a JSON line per episode over robot time, for `daydreamer plot`."""

from __future__ import annotations

import json
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import gymnasium

from robots.base import FloatArray
from sim.task_env import TaskEnv

_PROGRESS_S = 5.0
_WINDOW_STEPS = 1000


class EpisodeLog:
    """Appends a JSON line per episode, and keeps one line of progress on the terminal."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        steps: int,
        control_hz: float,
        screen: TextIO,
    ) -> None:
        """Raises FileExistsError when `folder` holds a run: nothing is ever overwritten."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "metrics.jsonl").open("x", encoding="utf-8")
        text = json.dumps(config, indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
        self._steps, self._control_hz = steps, control_hz
        self._screen = screen
        self._began_s = self._said_s = time.monotonic()
        self._step = 0
        self._recent: deque[float] = deque(maxlen=_WINDOW_STEPS)
        self._terms: dict[str, float] = {}  # of the newest step
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
        self._terms = {key: term for key, term in terms.items() if isinstance(term, float)}
        for key, value in self._terms.items():
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
            "robot_seconds": self._step / self._control_hz,
            "wall_seconds": round(time.monotonic() - self._began_s, 3),
            "return": self._return,
            "length": self._length,
            "reward_per_step": self._return / self._length,
            **{f"log_{key}": total / self._length for key, total in self._sums.items()},
            **{f"final_{key}": value for key, value in self._terms.items()},
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _say(self) -> None:
        self._said_s = time.monotonic()
        rate = self._step / max(self._said_s - self._began_s, 1e-9)
        mean = sum(self._recent) / max(len(self._recent), 1)
        self._screen.write(
            f"\rstep {self._step}/{self._steps}  "
            f"robot {self._step / self._control_hz / 60:.1f} min  "
            f"{rate:.0f} steps/s  reward/step {mean:.2f} (last {len(self._recent)})   "
        )
        self._screen.flush()


class Logged(gymnasium.Wrapper[FloatArray, Any, FloatArray, Any]):
    """Writes every step that passes through to an EpisodeLog."""

    def __init__(self, env: TaskEnv, episodes: EpisodeLog) -> None:
        """Neither is closed here."""
        super().__init__(env)
        self._episodes = episodes

    def step(self, action: Any) -> tuple[FloatArray, float, bool, bool, dict[str, Any]]:
        """As the environment's."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._episodes.add(float(reward), info, terminated or truncated)
        return obs, float(reward), terminated, truncated, info
