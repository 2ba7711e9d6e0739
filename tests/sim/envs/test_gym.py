"""gymnasium environments: repeated actions, ends, spaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from robots.base import RobotError
from sim.envs.config import GymConfig

ACTION = np.zeros(1, np.float32)
BOX = spaces.Box(-1, 1, (1,), np.float32)


class Counter(gymnasium.Env[Any, Any]):
    """Pays 1, 2, 3 ...; terminated after `ends_at` steps."""

    dt = 0.1

    def __init__(
        self,
        ends_at: int = 5,
        observation_space: spaces.Space[Any] = BOX,
        action_space: spaces.Space[Any] = BOX,
    ) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.observation_space.seed(0)
        self.ends_at, self.steps = ends_at, 0

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        super().reset(**options)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        self.steps += 1
        ends = self.steps >= self.ends_at
        return self.observation_space.sample(), float(self.steps), ends, False, {}


def run(code: str) -> str:
    """What `code` prints in a fresh interpreter, where nothing has been imported yet."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def world(repeat: int = 1, limit: int | None = None, **options: Any) -> Any:
    gymnasium.register("tests/Counter-v0", Counter, max_episode_steps=limit, kwargs=options)
    try:
        return GymConfig(id="tests/Counter-v0", repeat=repeat).make()
    finally:
        del gymnasium.registry["tests/Counter-v0"]


def play(env: Any) -> list[tuple[float, bool, bool]]:
    """(reward, is_last, is_terminal) of an episode."""
    env.begin(0, False)
    found = [env.step(ACTION)]
    while not found[-1].is_last:
        found.append(env.step(ACTION))
    return [(one.reward, one.is_last, one.is_terminal) for one in found]


def test_rewards_of_repeated_actions_are_summed_until_the_end() -> None:
    env = world(repeat=2)
    # 1 + 2, 3 + 4, then 5 alone: the episode is over in the middle of the third.
    assert play(env) == [(3.0, False, False), (7.0, False, False), (5.0, True, True)]
    assert env.layout.control_hz == pytest.approx(5.0)


def test_a_time_out_is_last_but_not_terminal() -> None:
    assert play(world(limit=3)) == [(1.0, False, False), (2.0, False, False), (3.0, True, False)]


def test_an_end_at_the_time_out_is_still_terminal() -> None:
    assert play(world(limit=3, ends_at=3))[-1] == (3.0, True, True)


def test_every_kind_of_observation_becomes_a_vector_or_a_small_image() -> None:
    space = spaces.Dict(
        camera=spaces.Box(0, 255, (100, 120, 3), np.uint8),
        depth=spaces.Box(0, 255, (128, 128), np.uint8),
        height=spaces.Box(-1, 1, (), np.float64),
        room=spaces.Discrete(3, start=4),
        arm=spaces.Dict(grid=spaces.Box(-1, 1, (2, 3), np.float32), open=spaces.MultiBinary(2)),
    )
    env = world(observation_space=space)
    shapes = {key: (spec.shape, spec.dtype) for key, spec in env.layout.observations.items()}
    assert shapes == {
        "camera": ((64, 64, 3), "uint8"),
        "depth": ((64, 64, 1), "uint8"),
        "height": ((1,), "float32"),
        "room": ((3,), "float32"),
        "arm_grid": ((6,), "float32"),
        "arm_open": ((2,), "float32"),
    }
    obs = env.begin(0, False).obs
    assert {key: (x.shape, str(x.dtype)) for key, x in obs.items()} == shapes
    assert sorted(obs["room"].tolist()) == [0, 0, 1]


def test_pixels_of_a_small_image_are_means_of_what_they_cover() -> None:
    from sim.envs.images import shrink

    picture = np.zeros((128, 128), np.uint8)
    picture[::2, ::2] = 200  # one of the four that each pixel covers
    assert (shrink(picture) == 50).all()


def test_a_choice_that_does_not_start_at_zero_is_shifted() -> None:
    env = world(action_space=spaces.Discrete(3, start=5))
    env.begin(0, False)
    env.step(np.array([2.0], np.float32))  # the environment itself checks that it is one of 5 .. 7


def test_a_matrix_of_actions_keeps_its_shape() -> None:
    env = world(action_space=spaces.Box(-2, 4, (2, 2), np.float64))
    env.begin(0, False)
    assert env.layout.command.high == (4.0, 4.0, 4.0, 4.0)
    env.step(np.zeros(4, np.float32))


UNBOUNDED = spaces.Box(-np.inf, np.inf, (2,), np.float32)
WIDE = spaces.Box(-3e38, 3e38, (2,), np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"action_space": UNBOUNDED}, "action space is Box.*expected finite bounds.*Rescale"),
        ({"action_space": WIDE}, "a finite range between them"),
        ({"action_space": spaces.MultiDiscrete([2, 3])}, "action space is MultiDiscrete"),
        ({"action_space": spaces.Discrete(1)}, "Discrete with two or more"),
        ({"observation_space": spaces.Text(3)}, "observation space is Text.*expected a Box"),
        (
            {"observation_space": spaces.Dict(a=spaces.Box(0, 255, (4, 84, 84), np.uint8))},
            r"observation a is Box.*\(H, W, 1 or 3\) uint8",
        ),
        ({"observation_space": spaces.Dict()}, "expected one key or more"),
        ({"observation_space": spaces.Dict(reward=BOX)}, "an observation called reward"),
    ],
)
def test_what_cannot_be_adapted_is_refused_by_what_was_found(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RobotError, match=message):
        world(**options)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pendulun-v1", "Pendulun-v1: .*Did you mean: `Pendulum`"),
        ("no_such_module:Env-v0", "no_such_module"),
        ("Ant-v2", r"Ant-v2: .*What an environment needs beyond gymnasium"),
    ],
)
def test_an_environment_that_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(RobotError, match=message):
        GymConfig(id=name).make()


def test_an_id_without_a_version_is_the_newest() -> None:
    assert GymConfig(id="Pendulum").make()._env.spec.id == "Pendulum-v1"


def test_a_module_before_the_id_is_imported_first() -> None:
    pytest.importorskip("pybullet", reason="the walk's twin needs PyBullet")
    code = (
        "from sim.envs.config import EnvConfig, GymConfig\n"
        "import numpy as np\n"
        "task = GymConfig(id='sim.gym_env:daydreamer/A1Walk-v0')\n"
        "robot = EnvConfig().build_for(task)\n"
        "robot.connect(); robot.command(np.zeros(12, np.float32))\n"
        "print(robot.read().values['vector'].shape, robot.spec.control_hz)\n"
    )
    assert run(code) == "(16,) 20.0"


def test_without_gymnasium_the_line_that_installs_it_is_named() -> None:
    code = (
        "import sys; sys.modules['gymnasium'] = None\n"
        "from robots.base import RobotError\n"
        "from sim.envs.config import GymConfig\n"
        "try: GymConfig(id='Acrobot-v1').make()\n"
        "except RobotError as error: print(error)\n"
    )
    assert "pip install 'daydreamer[twin]'" in run(code)


@pytest.mark.parametrize(("name", "rate_hz"), [("Pendulum-v1", 20.0), ("CartPole-v1", 50.0)])
def test_the_rate_is_the_environment_s_own(name: str, rate_hz: float) -> None:
    assert GymConfig(id=name).layout().control_hz == pytest.approx(rate_hz)


def test_what_cannot_be_drawn_says_why() -> None:
    env = world()
    with pytest.raises(RobotError, match="no render mode rgb_array"):
        env.render(320, 240)
