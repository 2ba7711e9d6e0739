"""Atari 2600 games through the Arcade Learning Environment, as results at 100k steps are published.

    # frames    1   2   3   4     one control step (repeat=4), one action
    # seen              max(3,4)  a sprite that is drawn every other frame stays visible
    # reward    sum over the four, then tanh

A game begins after FIRE, where the game has it, and 1 .. noop_max idle frames; whatever was played
before, the same seed gives the same game. With life_loss an episode ends with each life, terminal;
the game goes on in the next one, after FIRE.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from robots.base import ActionSpec, ArraySpec, RobotError
from sim.envs.config import AtariConfig
from sim.envs.core import Layout, Outcome, command_of, load_package, nearest_names
from sim.envs.images import SIDE, resize, shrink

FRAMES_HZ: Final = 60.0
_REWARDS: Final[Mapping[str, Callable[[float], float]]] = {
    "tanh": math.tanh,
    "sign": lambda points: float(np.sign(points)),
    "raw": float,
}
_LOG: Final = {
    "points": ArraySpec(()),  # of this control step, as the game gives them
    "score": ArraySpec(()),  # of the game so far, over all its lives
}


class AtariWorld:
    """One game. Episodes are lives or games."""

    def __init__(self, cfg: AtariConfig) -> None:
        """Raises RobotError: no such game, or the package missing."""
        ale_py = load_package("ale_py", "atari", f"task.game={cfg.game}")
        from ale_py import roms

        self._cfg = cfg
        self._rom = roms.get_rom_path(game_id(cfg.game, list(roms.get_all_rom_ids())))
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        self._ale: Any = ale_py.ALEInterface()
        self._ale.setFloat("repeat_action_probability", cfg.sticky)
        self._load(0)
        full, minimal = self._ale.getLegalActionSet(), self._ale.getMinimalActionSet()
        self._actions = list(full if cfg.full_actions else minimal)
        self._noop = ale_py.Action.NOOP
        self._fire = ale_py.Action.FIRE if ale_py.Action.FIRE in minimal else None
        self._reward = _REWARDS[cfg.reward]
        self._frames = np.zeros((2, *self._ale.getScreenDims()), np.uint8)  # the newest two
        self._lives = 0  # after the last control step: some games also give lives
        self._life_lost = False  # whether that ended the episode
        self._points = self._score = 0.0
        self._steps = 0  # control steps of this game
        action = ActionSpec("discrete", len(self._actions))
        image = {"image": ArraySpec((SIDE, SIDE, 1), "uint8", low=0, high=255)}
        self._layout = Layout(image, action, command_of(action), FRAMES_HZ / cfg.repeat, _LOG)

    @property
    def layout(self) -> Layout:
        """A gray image, the game's actions."""
        return self._layout

    def begin(self, seed: int, fresh: bool) -> Outcome:
        """The next life, or a new game where the last one is over."""
        goes_on = self._life_lost and not fresh and not self._is_over()
        if goes_on and self._fire is not None:
            self._act(self._fire, self._cfg.repeat)
            goes_on = not self._is_over()
        if not goes_on:
            self._new_game(seed)
        self._lives, self._life_lost = self._ale.lives(), False
        self._points = 0.0
        return self._outcome(0.0)

    def step(self, command: NDArray[np.float32]) -> Outcome:
        """A lost life and the end of the game are terminal; the cap on a game's length is not."""
        self._steps += 1
        self._points = self._act(self._actions[round(float(command[0]))], self._cfg.repeat)
        lives = self._ale.lives()
        lost, self._lives = lives < self._lives, lives
        self._life_lost = lost and self._cfg.life_loss
        if lost and not self._life_lost and self._fire is not None and not self._is_lost():
            # A policy that learned from lives never had to press it.
            self._points += self._act(self._fire, self._cfg.repeat)
        terminal = self._life_lost or self._is_lost()
        return self._outcome(self._reward(self._points), terminal or self._is_over(), terminal)

    def render(self, width: int, height: int) -> NDArray[np.uint8]:
        """The screen, in colour."""
        return resize(self._ale.getScreenRGB(), width, height)

    def close(self) -> None:
        """Nothing is held beyond memory."""

    def _is_lost(self) -> bool:
        """Whether the game ended by itself. Some are played on with no life left."""
        return bool(self._ale.game_over(with_truncation=False))

    def _is_over(self) -> bool:
        """Whether the game, not only a life, is lost or cut."""
        return self._is_lost() or 0 < self._cfg.episode_steps <= self._steps

    def _new_game(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        if self._cfg.sticky:  # the only chance in the emulator, drawn from what it was loaded with
            self._load(seed)
        self._restart()
        if self._cfg.noop_max:
            self._act(self._noop, int(rng.integers(1, self._cfg.noop_max + 1)))
            if self._is_lost():  # while nobody played
                self._restart()
        self._steps, self._score = 0, 0.0

    def _restart(self) -> None:
        """A game's first frames. A reset alone keeps part of what the last game left in memory."""
        self._ale.restoreState(self._loaded)
        self._ale.reset_game()
        self._look()
        self._look()
        if self._fire is not None:
            self._act(self._fire, self._cfg.repeat)

    def _act(self, action: Any, frames: int) -> float:
        """Points of so many frames under one action, fewer where the game ends."""
        points = 0.0
        for left in reversed(range(frames)):
            points += self._ale.act(action)
            if left < 2:
                self._look()
            if self._is_lost():
                self._look()
                break
        self._score += points
        return points

    def _look(self) -> None:
        self._frames[0] = self._frames[1]
        self._ale.getScreenGrayscale(self._frames[1])

    def _outcome(self, reward: float, is_last: bool = False, is_terminal: bool = False) -> Outcome:
        image = shrink(self._frames.max(axis=0))
        log = {"points": self._points, "score": self._score}
        return Outcome({"image": image}, reward, is_last, is_terminal, log)

    def _load(self, seed: int) -> None:
        self._ale.setInt("random_seed", seed)
        self._ale.loadROM(self._rom)
        self._loaded = self._ale.cloneState(include_rng=True)


def game_id(game: str, known: list[str]) -> str:
    """ale-py's name for `BankHeist`, `bank-heist` or `bank_heist`. Raises RobotError."""
    word = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", game).lower().replace("-", "_")
    if word not in known:
        raise RobotError(f"task.game={game}: no such game. {nearest_names(word, sorted(known))}")
    return word
