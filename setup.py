"""One source tree, three installs: actor, learner, twin. Versions are pinned in requirements/."""

from pathlib import Path

from setuptools import find_namespace_packages, setup

PACKAGE = Path("daydreamer/__init__.py").read_text(encoding="utf-8")
VERSION = PACKAGE.split('__version__ = "')[1].split('"')[0]

# What every process needs: configs and the wire.
BASE = [
    "numpy>=1.26,<3",
    "pyzmq>=26",
    "msgpack>=1.0.8",
    "safetensors>=0.4.5",
    "zstandard>=0.22,<1",
    "hydra-core>=1.3.2,<1.4",
    "omegaconf>=2.3,<2.4",
    "PyYAML>=6",
]
LEARNER = [
    "torch>=2.6",
    "tensorboard>=2.17",
    "rich>=13",
    "matplotlib>=3.8",
    "opencv-python-headless>=4.9",
]
# PyBullet publishes wheels up to CPython 3.11.
TWIN = ["pybullet>=3.2.6; python_version < '3.12'", "gymnasium>=1.0"]
# dm_control is written for MuJoCo 3.
DMC = ["dm_control>=1.0.30", "mujoco>=3.3,<4"]
ATARI = ["ale-py>=0.11", "opencv-python-headless>=4.9"]
DEV = [
    *LEARNER,
    *TWIN,
    *DMC,
    *ATARI,
    "pytest>=8.3",
    "pytest-timeout>=2.3",
    "hypothesis>=6.100",
    "psutil>=6",
    "ruff>=0.8",
    "mypy>=1.13",
    "types-PyYAML>=6",
    "stable-baselines3>=2.4",
]

EXTRAS = {
    "actor": [],  # the base is enough: a policy steps in numpy
    "learner": LEARNER,
    "twin": TWIN,
    "dmc": DMC,
    "atari": ATARI,
    "dev": DEV,
    # One per robot: the vendor's SDK, imported by that robot's driver alone. The A1 and the Go1 are
    # spoken to over UDP and need none.
    "a1": [],
    "go1": [],
    "go2": ["cyclonedds>=11.0.1"],
    "xarm": ["xarm-python-sdk>=1.18"],
    "ur": ["ur-rtde>=1.6.5"],
    "sphero": ["spherov2>=0.12.1", "bleak>=1"],
    "realsense": ["pyrealsense2>=2.55"],
}

setup(
    name="daydreamer",
    version=VERSION,
    description="A robot learns in the real world, in hours, without a simulator.",
    python_requires=">=3.10",
    packages=find_namespace_packages(
        include=[
            "daydreamer",
            "daydreamer.*",
            "robots",
            "robots.*",
            "sim",
            "sim.*",
            "configs",
            "configs.*",
        ]
    ),
    package_data={"": ["*.yaml", "*.urdf", "*.c", "*.inc"]},
    install_requires=BASE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["daydreamer = daydreamer.__main__:main"]},
)
