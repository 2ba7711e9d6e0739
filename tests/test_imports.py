"""Imports point one way. Every rule is checked on what a fresh interpreter really loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Imports every module below a package (or the one module) and prints the names of all loaded ones.
PROBE = """
import importlib, json, pkgutil, sys
top = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(getattr(top, "__path__", []), top.__name__ + "."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
print(json.dumps(sorted(sys.modules)))
"""

NAMED_ROBOTS = [f"robots.{path.parent.name}" for path in ROOT.glob("robots/*/__init__.py")]
SIMULATORS = ["pybullet", "gymnasium", "mujoco", "dm_control", "ale_py"]
HEAVY = ["torch", "matplotlib", "cv2", "tensorboard", "rich", *SIMULATORS]
TRAINING = ["daydreamer.learner", "daydreamer.replay", "daydreamer.agents.agent"]


def loaded_by(name: str) -> set[str]:
    """Names of all modules loaded once `name` and everything below it was imported."""
    result = subprocess.run(
        [sys.executable, "-c", PROBE, name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))


def below(modules: set[str], *packages: str) -> list[str]:
    """Those of `modules` that are one of `packages` or below it."""
    return sorted(m for m in modules if any(f"{m}.".startswith(f"{p}.") for p in packages))


def test_robots_know_neither_torch_nor_the_learning_system_nor_twins() -> None:
    assert below(loaded_by("robots"), "torch", "daydreamer", "sim", "pybullet") == []


def test_twins_know_neither_torch_nor_the_learning_system() -> None:
    assert below(loaded_by("sim"), "torch", "daydreamer") == []


def test_wire_needs_only_numpy_msgpack_zmq_and_safetensors() -> None:
    modules = loaded_by("daydreamer.wire")
    assert below(modules, *HEAVY, "hydra", "omegaconf", "yaml", "robots", "sim") == []
    wire = below(modules, "daydreamer.wire")
    assert below(modules, "daydreamer") == ["daydreamer", *wire]


def test_actor_runs_without_the_training_code() -> None:
    modules = loaded_by("daydreamer.actor")
    assert below(modules, *TRAINING) == []
    # A robot's computer has no torch, no plotting, no video and no simulator.
    assert below(modules, "torch", "matplotlib", "cv2", "tensorboard", *SIMULATORS) == []


def test_the_learning_system_imports_no_named_robot_and_no_twin() -> None:
    assert NAMED_ROBOTS, "robots/ has no body left to check the rule with"
    assert below(loaded_by("daydreamer"), "sim", *NAMED_ROBOTS) == []


@pytest.mark.parametrize(
    "module", ["daydreamer.cli", "daydreamer.config", "daydreamer.agents.config"]
)
def test_the_command_line_starts_without_anything_heavy(module: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import {module}, sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    modules = set(result.stdout.split())
    assert below(modules, *HEAVY, "hydra", "omegaconf", "numpy", "zmq") == []


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("sim.a1.config", "A1TwinConfig"),
        ("sim.envs.config", "GymConfig"),
        ("sim.envs.config", "DMCConfig"),
        ("sim.envs.config", "AtariConfig"),
    ],
)
def test_a_twin_can_be_configured_without_its_simulator(module: str, kind: str) -> None:
    code = f"import {module}, sys; {module}.{kind}(); print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert below(set(result.stdout.split()), *SIMULATORS, "torch") == []


@pytest.mark.parametrize("task", ["a1_walk", "gym", "dmc", "atari"])
def test_a_run_is_configured_before_numpy_reads_its_thread_limits(task: str) -> None:
    code = f"from daydreamer.config import load; load(['task={task}'])"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert below(set(result.stdout.split()), "numpy", "torch") == []
