"""RUN/config.yaml: written once a run starts, read when it goes on or is looked at."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from daydreamer.config.errors import ConfigError
from daydreamer.config.loading import Data, load, reload
from daydreamer.config.overrides import split
from daydreamer.config.schema import Config
from daydreamer.config.typed import flatten, plain

FILE = "config.yaml"

# Keys of the agent that the policy on the robot is built from; the others only train it.
POLICY_KEYS = (
    "name",
    "deter",
    "units",
    "latents",
    "stoch",
    "classes",
    "prior_layers",
    "post_layers",
    "mlp_layers",
    "mlp_units",
    "norm",
    "gru_norm",
    "initial",
    "cnn_depth",
    "symlog_vectors",
    "unimix",
    "min_std",
    "max_std",
    "actor_unimix",
    "noise_correlation",
)

# What gives weights their names and shapes, so that no checkpoint survives a change of it.
_SHAPES = {f"agent.{key}" for key in POLICY_KEYS[: POLICY_KEYS.index("cnn_depth") + 1]}

_PACKAGES = (
    "daydreamer",
    "torch",
    "numpy",
    "pyzmq",
    "msgpack",
    "safetensors",
    "hydra-core",
    "pybullet",
)


def to_data(config: Config) -> Data:
    """The resolved config as plain values, as config.yaml has it."""
    data = cast(Data, plain(config))
    for node in ("task", "body"):
        params = data[node].pop("params")
        data[node].update(params)
    return data


def save(config: Config, folder: Path | str) -> Path:
    """Write FOLDER/config.yaml: resolved config, versions, git commit. Complete or not at all."""
    from omegaconf import OmegaConf

    path = Path(folder) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    text = OmegaConf.to_yaml(OmegaConf.create({**to_data(config), "versions": versions()}))
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_run(folder: Path | str, overrides: Sequence[str] = ()) -> Config:
    """The config of the run in `folder` with `overrides` on top. Raises ConfigError."""
    data = _read(Path(folder))
    data["run"] = str(folder)  # it may have been moved since
    try:
        return reload(data, [word for word in overrides if not word.startswith("run=")])
    except KeyError as error:
        raise ConfigError(
            f"{Path(folder) / FILE} lacks {error}: it is damaged. Take a new folder."
        ) from error


def open_run(overrides: Sequence[str]) -> tuple[Config, list[str]]:
    """The config of a run to start or to go on with, and what changed since it began.

    When run=DIR has a config.yaml, that is the ground the other words build on.
    """
    given = split(overrides)
    # Without run=DIR the task says which folder it is, so that two tasks never share one.
    folder = Path(given.values.get("run") or load(overrides).run).expanduser()
    if not (folder / FILE).is_file():
        return load(overrides), []
    before, config = load_run(folder), load_run(folder, overrides)
    changed = differences(before, config)
    trained = (folder / "learner" / "checkpoints" / "latest").exists()
    shapes = [change for change in changed if change.split(":")[0] in _SHAPES]
    if trained and shapes:
        # Before anything is written: the run must stay what it was.
        raise ConfigError(
            f"run={folder} has checkpoints of another agent; what was asked for differs in "
            + ", ".join(shapes)
            + f". Leave these out, or choose another run=DIR. The run's own are in {folder / FILE}."
        )
    return config, changed


def differences(old: Config, new: Config) -> list[str]:
    """Every key whose value differs, as `key: old -> new`. The folder's own path does not count."""
    before, after = flatten(to_data(old)), flatten(to_data(new))
    return [
        f"{key}: {_show(before, key)} -> {_show(after, key)}"
        for key in sorted(before.keys() | after.keys())
        if key != "run" and before.get(key) != after.get(key)
    ]


def fingerprint(config: Config) -> tuple[str, dict[str, Any]]:
    """(hash, {dotted key: scalar or text}) of what actor and learner must agree on.

    That is the mode, the task with its settings, the sizes of the policy, and the columns of a row.
    """
    from daydreamer.wire.rows import make_schema

    data = to_data(config)
    task = {key: value for key, value in data["task"].items() if key not in ("image", "bodies")}
    agent = {key: data["agent"][key] for key in POLICY_KEYS}
    built = config.task.build()
    columns = make_schema(built.observations, built.action.size, built.log_keys)
    rows = {name: f"{column.dtype}{list(column.shape)}" for name, column in columns.items()}
    nested = {
        "mode": config.mode,
        "task": task,
        "agent": agent,
        "rows": rows,
        "action": {"kind": built.action.kind},
    }
    flat = {key: _scalar(value) for key, value in sorted(flatten(nested).items())}
    text = json.dumps(flat, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16], flat


def _read(folder: Path) -> Data:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = folder / FILE
    if not path.is_file():
        found = f"has no {FILE}" if folder.is_dir() else "does not exist"
        raise ConfigError(
            f"{folder} is no run folder: it {found}. "
            "Give run=DIR of a run that `daydreamer dryrun` or `daydreamer learner` started."
        )
    try:
        data = OmegaConf.to_container(OmegaConf.load(path))
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} cannot be read as YAML ({error}). Mend it, or take a new folder."
        ) from error
    if not isinstance(data, dict) or not all(
        isinstance(data.get(node), dict) for node in ("task", "body")
    ):
        raise ConfigError(f"{path} has no task and body: it is damaged. Take a new folder.")
    data.pop("versions", None)
    return cast(Data, data)


def versions() -> dict[str, Any]:
    """What this program runs on: Python, platform, each package that is there, git commit."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    found["git_commit"] = _git_commit()
    return found


def _git_commit() -> str | None:
    """The checkout's commit, with `-dirty` when files differ from it; None outside a checkout."""
    source = Path(__file__).resolve().parents[2]
    if not (source / ".git").exists():
        return None
    try:
        found = subprocess.run(
            [
                "git",
                "-C",
                str(source),
                "describe",
                "--always",
                "--dirty",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or no commit yet: the versions above still stand
    return found.stdout.strip()


def _show(flat: dict[str, Any], key: str) -> str:
    return str(flat[key]) if key in flat else "(not there)"


def _scalar(value: Any) -> bool | int | float | str | None:
    return (
        value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)
    )
