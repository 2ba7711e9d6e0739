"""The DeepMind Control suite: names, repeated actions, ends, pixels."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robots.base import RobotError
from sim.envs.config import DMCConfig, EnvConfig
from sim.envs.gl import _works, choose_gl, require_gl

choose_gl()  # before anything imports MuJoCo
suite = pytest.importorskip(
    "dm_control.suite", reason="needs dm_control: pip install 'daydreamer[dmc]'"
)
from sim.envs.dmc import DMCWorld, split_name  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def gl() -> None:
    """Skips where nothing can draw."""
    try:
        require_gl("this test")
    except RobotError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("walker_walk", ("walker", "walk")),
        ("ball_in_cup_catch", ("ball_in_cup", "catch")),
        ("cup_catch", ("ball_in_cup", "catch")),
        ("point_mass_easy", ("point_mass", "easy")),
        ("cartpole-swingup", ("cartpole", "swingup")),
        ("humanoid_CMU_run", ("humanoid_CMU", "run")),
        ("humanoid_cmu_stand", ("humanoid_CMU", "stand")),
    ],
)
def test_domain_and_task_are_told_apart(name: str, found: tuple[str, str]) -> None:
    assert split_name(name, list(suite.ALL_TASKS)) == found


def test_a_task_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(RobotError, match=r"task\.name=waker_walk: .*Did you mean walker_walk"):
        DMCConfig(name="waker_walk").make()


def test_repeated_actions_sum_the_suite_s_own_rewards() -> None:
    world = DMCWorld(DMCConfig(name="walker_walk", repeat=2))
    raw = suite.load("walker", "walk", task_kwargs={"random": 3})
    raw.task.random.seed(3)
    world.begin(3, False)
    raw.reset()
    action = np.full(6, 0.5, np.float32)
    for _ in range(5):
        outcome = world.step(action)
        steps = [raw.step(action) for _ in range(2)]
        assert outcome.reward == pytest.approx(sum(step.reward for step in steps))
        seen = steps[1].observation
        np.testing.assert_allclose(outcome.obs["velocity"], seen["velocity"], rtol=1e-5)
        np.testing.assert_allclose(outcome.obs["height"], [seen["height"]], rtol=1e-5)
    assert outcome.reward > 0


def test_every_observation_has_its_key_and_the_rate_counts_the_repeats() -> None:
    layout = DMCConfig(name="walker_walk", repeat=2).layout()
    shapes = {key: spec.shape for key, spec in layout.observations.items()}
    assert shapes == {"orientations": (14,), "height": (1,), "velocity": (9,)}
    assert layout.control_hz == 20.0  # an environment step of 0.025 s, twice


def test_the_suite_s_time_out_is_last_but_not_terminal() -> None:
    world = DMCWorld(DMCConfig(name="cartpole_balance", repeat=8))
    world.begin(0, False)
    outcomes = [world.step(np.zeros(1, np.float32)) for _ in range(125)]  # 1000 steps
    assert [one.is_last for one in outcomes] == [False] * 124 + [True]
    assert not outcomes[-1].is_terminal


def test_an_end_with_discount_zero_is_terminal() -> None:
    world = DMCWorld(DMCConfig())
    world.begin(0, False)
    world._env.task.get_termination = lambda physics: 0.0
    outcome = world.step(np.zeros(1, np.float32))
    assert (outcome.is_last, outcome.is_terminal) == (True, True)


def test_the_seed_repeats_the_start() -> None:
    world = DMCWorld(DMCConfig(name="reacher_easy"))
    starts = [world.begin(seed, False).obs["position"].tolist() for seed in (1, 2, 1)]
    assert starts[0] == starts[2]
    assert starts[0] != starts[1]


def test_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(RobotError, match=r"task\.camera=9: cartpole_swingup has 2 cameras"):
        DMCConfig(camera=9).make()


def test_pixels_are_all_that_is_seen(gl: None) -> None:
    task = DMCConfig(pixels=True, shadow_size=0)
    assert task.build().name == "dmc_pixels"
    assert {key: spec.shape for key, spec in task.layout().observations.items()} == {
        "image": (64, 64, 3)
    }
    robot = EnvConfig().build_for(task)
    robot.connect()
    image = robot.read().values["image"]
    assert image.shape == (64, 64, 3)
    assert image.std() > 5, "a picture, not a blank page"
    robot.command(np.ones(1, np.float32))
    assert (robot.read().values["image"] != image).any()
    assert robot.render(80, 60).shape == (60, 80, 3)
    robot.close()


def run(code: str, gl: str = "disabled") -> str:
    """What `code` says where nothing can draw, or with another MUJOCO_GL; no display is there."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "MUJOCO_GL": gl, "DISPLAY": ":77"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


IMPORTS = "from sim.envs.config import DMCConfig, EnvConfig\nfrom robots.base import RobotError\n"


def test_positions_and_velocities_need_nothing_that_draws() -> None:
    code = IMPORTS + (
        "import numpy as np, sys\n"
        "robot = EnvConfig().build_for(DMCConfig())\n"
        "robot.connect(); robot.command(np.zeros(1, np.float32))\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('OpenGL', 'glfw')])\n"
        "try: robot.render()\n"
        "except RobotError as error: print(error)\n"
    )
    loaded, said = run(code).splitlines()
    assert loaded == "[]"
    assert "a picture of cartpole_swingup needs OpenGL" in said
    assert "apt install libegl1" in said


def test_pixels_without_anything_that_draws_name_the_package_to_install() -> None:
    code = IMPORTS + (
        "robot = EnvConfig().build_for(DMCConfig(pixels=True))\n"
        "for _ in range(2):\n"
        "  try: robot.connect()\n"
        "  except RobotError as error: print(error)\n"
    )
    found = run(code).splitlines()
    assert len(found) == 2, "a body that could not be connected is not connected"
    assert all("from pixels needs OpenGL" in line for line in found)


def test_a_learner_sees_what_pixels_are_like_without_anything_that_draws() -> None:
    code = IMPORTS + "print(DMCConfig(pixels=True).build().observations['image'].shape)\n"
    assert run(code).strip() == "(64, 64, 3)"


@pytest.mark.parametrize("gl", ["nonsense", "glfw"])
def test_what_was_asked_for_and_cannot_draw_is_answered(gl: str) -> None:
    code = IMPORTS + (
        "try: DMCConfig().make().render(80, 60)\nexcept RobotError as error: print(error)\n"
    )
    said = run(code, gl)
    assert f"OpenGL failed with MUJOCO_GL={gl}" in said
    assert "or with MUJOCO_GL=egl" in said


@pytest.mark.parametrize(
    ("environment", "there", "chosen"),
    [
        ({"MUJOCO_GL": "osmesa"}, {"egl"}, "osmesa"),
        ({"DISPLAY": ":0"}, {"egl", "glfw", "osmesa"}, "egl"),
        ({"DISPLAY": ":0"}, {"glfw", "osmesa"}, "glfw"),
        ({}, {"egl", "osmesa"}, "egl"),
        ({}, {"osmesa"}, "osmesa"),
        ({}, set(), "disabled"),
    ],
)
def test_what_draws_is_chosen_by_what_is_there(
    environment: dict[str, str],
    there: set[str],
    chosen: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, environment.get(name, ""))
    monkeypatch.setattr("sim.envs.gl._works", lambda word: word in there)
    choose_gl()
    assert os.environ["MUJOCO_GL"] == chosen


def test_a_display_that_is_named_and_not_there_is_not_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISPLAY", ":77")
    assert not _works("glfw")


def test_without_dm_control_the_line_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    with pytest.raises(RobotError, match=r"pip install 'daydreamer\[dmc\]'"):
        DMCConfig().make()


def test_a_library_without_a_driver_is_not_chosen() -> None:
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        pytest.skip("libEGL.so.1 is not installed: apt install libegl1")
    code = (
        "import os\nfrom sim.envs.gl import choose_gl\nchoose_gl()\nprint(os.environ['MUJOCO_GL'])"
    )
    unset = ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "__EGL_VENDOR_LIBRARY_DIRS": str(ROOT / "configs")},  # no driver's
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() in ("osmesa", "disabled")
