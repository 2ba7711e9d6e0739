"""Atari: lives, frames, idle starts, points."""

from __future__ import annotations

import math
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from robots.base import RobotError
from sim.envs.config import AtariConfig
from sim.envs.core import Outcome

ale_py = pytest.importorskip("ale_py", reason="needs ale-py: pip install 'daydreamer[atari]'")
from sim.envs.atari import AtariWorld, game_id  # noqa: E402

IDLE = np.zeros(1, np.float32)  # the first action of every game


def world(**options: Any) -> AtariWorld:
    return AtariWorld(AtariConfig(**{"game": "breakout", **options}))


def until_last(game: AtariWorld) -> tuple[Outcome, int]:
    """The outcome that ended the episode under idle actions, and how many steps it took."""
    for steps in range(1, 2000):
        outcome = game.step(IDLE)
        if outcome.is_last:
            return outcome, steps
    pytest.fail("2000 idle steps, and the ball is still in play")


def test_a_lost_life_is_terminal_and_the_game_goes_on_in_the_next_episode() -> None:
    game = world()
    game.begin(0, False)
    lives = []
    for _ in range(5):
        outcome, _ = until_last(game)
        assert (outcome.is_last, outcome.is_terminal) == (True, True)
        lives.append(game._ale.lives())
        frame = game._ale.getEpisodeFrameNumber()
        begun = game.begin(1, False)
        assert (begun.reward, begun.is_last) == (0.0, False)
        # FIRE serves the ball, for one control step; after the last life a new game begins.
        assert (game._ale.getEpisodeFrameNumber() == frame + 4) == (lives[-1] > 0)
    assert lives == [4, 3, 2, 1, 0]
    assert game._ale.lives() == 5


def test_a_fresh_start_begins_a_new_game_whatever_was_going_on() -> None:
    game = world()
    game.begin(0, False)
    until_last(game)
    game.begin(0, True)
    assert game._ale.lives() == 5


def test_an_episode_that_was_interrupted_is_followed_by_a_new_game() -> None:
    game = world(noop_max=0)
    game.begin(0, False)
    game.step(IDLE)
    game.begin(0, False)
    assert game._ale.getEpisodeFrameNumber() == 4


def test_without_life_loss_an_episode_is_a_game_in_which_every_ball_is_served() -> None:
    game = world(life_loss=False)
    game.begin(0, False)
    outcome, steps = until_last(game)
    assert outcome.is_terminal
    assert game._ale.lives() == 0
    one_life = world()
    one_life.begin(0, False)
    assert steps > 4 * until_last(one_life)[1]


def play(game: AtariWorld, seed: int, steps: int) -> list[tuple[int, Outcome]]:
    """(lives, outcome) of each step under random actions; ended episodes are followed by others."""
    rng = np.random.default_rng(seed)
    size, found = game.layout.action.size, []
    game.begin(seed, True)
    for _ in range(steps):
        outcome = game.step(np.array([rng.integers(size)], np.float32))
        found.append((game._ale.lives(), outcome))
        if outcome.is_last:
            game.begin(seed, False)
    return found


def test_a_life_that_was_won_before_is_lost_like_any_other() -> None:
    found = play(world(game="demon_attack", noop_max=0), 2, 420)
    lives = [4, *(left for left, _ in found)]
    changes = [(after - before, one.is_terminal) for before, after, (_, one) in
               zip(lives, lives[1:], found, strict=False) if after != before]  # fmt: skip
    assert changes == [(1, False), (-1, True)]


def test_the_last_life_is_played_where_a_game_goes_on_with_none_left() -> None:
    game = world(game="bank_heist", noop_max=0)
    found = play(game, 0, 540)
    (lost,) = [step for step, (left, one) in enumerate(found) if left == 0 and one.is_last]
    assert not game._ale.game_over(with_truncation=False)
    assert [left for left, _ in found[lost:]] == [0] * (540 - lost), "a new game began"
    assert len(found[lost:]) > 5


def test_a_game_is_the_same_whatever_was_played_before() -> None:
    game = world(game="assault")
    streams = []
    for _ in range(3):
        found = play(game, 7, 60)
        streams.append([one.obs["image"].tobytes() for _, one in found])
    assert streams[0] == streams[1] == streams[2]


def test_the_first_image_is_the_screen_also_without_any_idle_frame() -> None:
    game = world(game="freeway", noop_max=0)
    assert game.begin(0, False).obs["image"].any()


class LostAtOnce:
    """An emulator whose first game is lost in the first idle frame, and scored in."""

    def __init__(self, emulator: Any) -> None:
        self._emulator, self.games, self.fired = emulator, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._emulator, name)

    def reset_game(self) -> None:
        self._emulator.reset_game()
        self.games, self.fired = self.games + 1, 0

    def act(self, action: Any) -> float:
        self.fired += action == ale_py.Action.FIRE
        self._emulator.act(action)
        return 1.0

    def game_over(self, with_truncation: bool) -> bool:
        return self.games == 1 and self._emulator.getEpisodeFrameNumber() > 4


def test_a_game_that_is_lost_while_nobody_plays_is_followed_by_a_whole_new_one() -> None:
    game = world()
    emulator = game._ale = LostAtOnce(game._ale)
    begun = game.begin(0, False)
    assert (emulator.games, emulator.fired) == (2, 4)
    assert begun.log["score"] == 0
    seen = np.zeros((210, 160), np.uint8)
    emulator.getScreenGrayscale(seen)
    np.testing.assert_array_equal(game._frames[1], seen)


class LostWhenServed(LostAtOnce):
    """An emulator that ends the game in the frames of the second serve."""

    def reset_game(self) -> None:
        served = self.fired
        super().reset_game()
        self.fired = served

    def game_over(self, with_truncation: bool) -> bool:
        return self.games == 1 and self.fired > 4


@pytest.mark.parametrize("life_loss", [True, False])
def test_a_game_that_is_lost_as_the_ball_is_served_is_over(life_loss: bool) -> None:
    game = world(life_loss=life_loss, noop_max=0)
    emulator = game._ale = LostWhenServed(game._ale)
    game.begin(0, False)
    outcome, _ = until_last(game)
    assert outcome.is_terminal
    assert not game.begin(0, False).is_last
    assert emulator.games == 2


def test_the_cap_ends_a_game_without_being_terminal_and_the_next_is_a_new_one() -> None:
    game = world(episode_steps=3, noop_max=0)
    game.begin(0, False)
    flags = [game.step(IDLE)[2:4] for _ in range(3)]
    assert flags == [(False, False), (False, False), (True, False)]
    game.begin(0, False)
    assert game._ale.getEpisodeFrameNumber() == 4


def test_the_image_is_the_maximum_of_the_last_two_gray_frames_scaled_down() -> None:
    game = world(game="boxing", noop_max=0)
    game.begin(0, False)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(ale_py.roms.get_rom_path("boxing"))
    ale.reset_game()
    for _ in range(4):
        ale.act(ale_py.Action.FIRE)
    for _ in range(20):
        image = game.step(np.array([2.0], np.float32)).obs["image"]
        frames = []
        for _ in range(4):
            ale.act(ale.getMinimalActionSet()[2])
            frames.append(ale.getScreenGrayscale())
        seen = np.maximum(frames[2], frames[3])
        assert image.shape == (64, 64, 1)
        np.testing.assert_array_equal(
            image[..., 0], cv2.resize(seen, (64, 64), interpolation=cv2.INTER_AREA)
        )


def test_a_game_begins_after_one_to_thirty_idle_frames() -> None:
    game = world()
    waited = set()
    for seed in range(60):
        game.begin(seed, True)
        waited.add(game._ale.getEpisodeFrameNumber() - 4)  # FIRE takes four
    assert min(waited) >= 1
    assert max(waited) <= 30
    assert len(waited) > 15


def test_without_idle_frames_a_game_begins_at_once() -> None:
    game = world(noop_max=0)
    game.begin(0, False)
    assert game._ale.getEpisodeFrameNumber() == 4
    without_fire = world(game="freeway", noop_max=0)
    without_fire.begin(0, False)
    assert without_fire._ale.getEpisodeFrameNumber() == 0


def random_play(steps: int, **options: Any) -> list[Outcome]:
    game = world(game="boxing", **options)
    rng = np.random.default_rng(0)
    game.begin(0, False)
    size = game.layout.action.size
    return [game.step(np.array([rng.integers(size)], np.float32)) for _ in range(steps)]


def test_points_are_squashed_for_learning_and_logged_as_they_are() -> None:
    squashed = random_play(150)
    raw = random_play(150, reward="raw")
    sign = random_play(150, reward="sign")
    points = [one.log["points"] for one in squashed]
    assert any(points), "nobody was hit in ten seconds of boxing"
    assert [one.reward for one in squashed] == [math.tanh(x) for x in points]
    assert [one.reward for one in raw] == points
    assert [one.reward for one in sign] == [np.sign(x) for x in points]
    gained = squashed[-1].log["score"] - squashed[0].log["score"]
    assert gained == sum(points[1:])


def test_the_same_seed_gives_the_same_game_also_with_sticky_actions() -> None:
    def images(seed: int, sticky: float) -> list[bytes]:
        game = world(game="boxing", sticky=sticky, noop_max=0)
        game.begin(seed, False)
        return [game.step(np.array([i % 18], np.float32)).obs["image"].tobytes() for i in range(40)]

    assert images(1, 0.5) == images(1, 0.5)
    assert images(1, 0.5) != images(2, 0.5)
    assert images(1, 0.0) == images(2, 0.0)


@pytest.mark.parametrize(("full", "size"), [(False, 4), (True, 18)])
def test_actions_are_those_of_the_game_or_all(full: bool, size: int) -> None:
    assert AtariConfig(game="breakout", full_actions=full).layout().action.size == size


def test_the_rate_counts_repeated_frames() -> None:
    assert AtariConfig().layout().control_hz == 15.0


def test_the_screen_is_drawn_in_colour() -> None:
    picture = world().render(320, 240)
    assert picture.shape == (240, 320, 3)
    assert (picture[..., 0] != picture[..., 2]).any()


@pytest.mark.parametrize("name", ["bank_heist", "BankHeist", "bank-heist"])
def test_a_game_is_known_under_its_usual_spellings(name: str) -> None:
    assert game_id(name, ["bank_heist", "boxing"]) == "bank_heist"


def test_a_game_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(RobotError, match=r"task\.game=boxxing: no such game\. Did you mean boxing"):
        AtariConfig(game="boxxing").make()


def test_without_ale_py_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(RobotError, match=r"pip install 'daydreamer\[atari\]'"):
        AtariConfig().make()
