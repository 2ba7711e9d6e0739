"""Hydra composes the groups: folder = group, file = option. Nothing here changes the directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from daydreamer.config.errors import ConfigError, nearest

GROUPS = ("task", "body", "agent", "size", "learner", "actor", "wire")

# Beside this package, in a checkout and in an installed wheel alike.
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def options(group: str) -> list[str]:
    """What there is to choose from in `group`."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def check_option(group: str, name: str) -> None:
    """Raises ConfigError with the nearest option when `group` has no `name`."""
    known = options(group)
    if name not in known:
        raise ConfigError(f"{group}={name}: there is no such {group}. {nearest(name, known)}")


def compose(choices: Mapping[str, str]) -> dict[str, Any]:
    """{group: its option's content}. Groups that are not chosen take their default."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    for group, name in choices.items():
        check_option(group, name)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra_compose("config", [f"{group}={name}" for group, name in choices.items()])
    content = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return {group: content.get(group) or {} for group in GROUPS}


def read_option(group: str, name: str) -> dict[str, Any]:
    """One option's content, with what it inherits."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    check_option(group, name)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra_compose(f"{group}/{name}")
    content = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
    return content.get(group) or {}


def resolve_body(word: str, task: str, bodies: Mapping[str, str]) -> str:
    """The body that `word` means: an alias of the task (twin, hardware, log) or a body's name."""
    body = bodies.get(word, word)
    if body in bodies.values():
        return body
    available = ", ".join(f"{alias} ({name})" for alias, name in sorted(bodies.items()))
    hint = (
        nearest(word, [*bodies, *bodies.values()])
        if len(bodies) > 1
        else f"Write body={next(iter(bodies), '')}."
    )
    raise ConfigError(
        f"body={word}: task {task} has no such body; it has {available or 'none'}. {hint}"
    )
