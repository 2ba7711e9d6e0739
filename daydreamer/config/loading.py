"""From words of a command line to a typed Config.

Later layers win: dataclass defaults < group options < settings of task and body < size < key=value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daydreamer.agents.config import AgentConfig
from daydreamer.config.errors import ConfigError, nearest
from daydreamer.config.groups import GROUPS, compose, options, read_option, resolve_body
from daydreamer.config.kinds import RESERVED, import_kind
from daydreamer.config.nodes import BodyNode, TaskNode
from daydreamer.config.overrides import (
    SHORTCUTS,
    Overrides,
    assign,
    known_keys,
    parse,
    split,
)
from daydreamer.config.schema import ActorConfig, Config, LearnerConfig, WireConfig
from daydreamer.config.typed import build, convert, field_types

Data = dict[str, Any]

# Groups that are one dataclass each, and may be set by a task, a body or a size.
SECTIONS: Mapping[str, type] = {
    "agent": AgentConfig,
    "learner": LearnerConfig,
    "actor": ActorConfig,
    "wire": WireConfig,
}


def load(overrides: Sequence[str]) -> Config:
    """A new run's Config from `group=option` and `key=value` words. Raises ConfigError."""
    given = split(overrides)
    task = given.groups.get("task", "")
    if not task:
        _refuse_misspelt(given)
        raise ConfigError(
            f"no task was chosen. Write task=NAME; there is: {', '.join(options('task'))}."
        )
    bodies = read_option("task", task).get("bodies") or {}
    body = resolve_body(given.groups.get("body", "twin"), task, bodies)
    composed = compose({**given.groups, "body": body})
    size = given.groups.get("size", "small")

    data: Data = {"run": f"runs/{task}", "size": size}
    data.update({name: composed[name] for name in SECTIONS})
    data["task"] = {**composed["task"], "option": task}
    data["body"] = {**composed["body"], "option": body}
    for node in ("task", "body"):
        _lay_over(data, data[node].pop("settings", None) or {}, f"{node}={data[node]['option']}")
    _lay_over(data, _size_layer(composed["size"], data["task"]), f"size={size}")
    config = to_config(data, given)
    if "run" in given.values:
        return config
    return dataclasses.replace(config, run=f"runs/{config.task.label}")


def size_settings(size: str, *, image: bool) -> Data:
    """{section: settings} of a size, for tasks with or without images. Raises ConfigError."""
    return _size_layer(read_option("size", size), {"image": image})


def _refuse_misspelt(given: Overrides) -> None:
    """Raises ConfigError for a key that no task could have: `tsk=a1_walk` is no missing task."""
    top = [*field_types(Config), *GROUPS, *SHORTCUTS]
    for key in given.values:
        if (first := key.partition(".")[0]) not in top:
            raise ConfigError(f"unknown key {key}. {nearest(first, top)}")


def reload(saved: Data, overrides: Sequence[str]) -> Config:
    """A saved run's Config with `overrides` on top; a choice made before changes nothing."""
    given = split(overrides)
    data = _with_options(saved)
    task = data["task"]["option"]
    if given.groups.get("task", task) != task:
        raise ConfigError(
            f"the run folder {data['run']} holds task {task}, not {given.groups['task']}. "
            "Choose another folder with run=DIR, or leave task= out to go on with this one."
        )
    chosen = {group: name for group, name in given.groups.items() if group in SECTIONS}
    layers = [
        ({group: read_option(group, name)}, f"{group}={name}") for group, name in chosen.items()
    ]
    if (word := given.groups.get("body")) is not None:
        body = resolve_body(word, task, data["task"].get("bodies") or {})
        if body != data["body"]["option"]:
            data["body"] = {**read_option("body", body), "option": body}
            layers.append((data["body"].pop("settings", None) or {}, f"body={body}"))
    size = given.groups.get("size") or data["size"]
    if size != data["size"]:
        data["size"] = size
        layers.append((_size_layer(read_option("size", size), data["task"]), f"size={size}"))
    for layer, origin in layers:
        _lay_over(data, layer, origin)
    label = to_config(data, Overrides()).task.label
    config = to_config(data, given)
    if config.task.label != label:  # another environment is another task, whatever its option
        raise ConfigError(
            f"the run folder {data['run']} holds task {label}, not {config.task.label}. "
            "Choose another folder with run=DIR."
        )
    return config


def _with_options(saved: Data) -> Data:
    """`saved` with the option chosen under `option`; older runs have it under `name`."""
    data = dict(saved)
    for node in ("task", "body"):
        content = data[node]
        own = field_types(import_kind(content["kind"], node))
        if "option" not in content and "name" in content and "name" not in own:
            rest = {key: value for key, value in content.items() if key != "name"}
            data[node] = {"option": content["name"], **rest}
    return data


def to_config(data: Data, given: Overrides) -> Config:
    """Apply key=value words to plain data and build every dataclass. Raises ConfigError."""
    kinds = {node: import_kind(data[node].get("kind"), node) for node in ("task", "body")}
    known = known_keys(kinds["task"], kinds["body"])
    for key, text in given.values.items():
        assign(data, key, parse(key, text, known))
    # One seed is enough: a body that draws random numbers follows the run's unless told otherwise.
    follows = "seed" in given.values or "seed" not in data["body"]
    if "body.seed" in known and "body.seed" not in given.values and follows:
        data["body"]["seed"] = data.get("seed", 0)

    top = {
        key: kind for key, kind in field_types(Config).items() if key not in GROUPS or key == "size"
    }
    for key in data:
        if key not in top and key not in GROUPS:
            raise ConfigError(f"unknown key {key}. {nearest(key, [*top, *GROUPS])}")
    values = {key: convert(kind, data[key], key) for key, kind in top.items() if key in data}
    if values["run"].startswith("~"):  # the shell leaves run=~/walks as it is
        values["run"] = str(Path(values["run"]).expanduser())
    for name, cls in SECTIONS.items():
        values[name] = build(cls, data.get(name) or {}, name)
    for node, cls in (("task", TaskNode), ("body", BodyNode)):
        own = {key: value for key, value in data[node].items() if key in RESERVED}
        rest = {key: value for key, value in data[node].items() if key not in RESERVED}
        values[node] = build(cls, {**own, "params": build(kinds[node], rest, node)}, node)
    return Config(**values)


def _size_layer(size: Data, task: Mapping[str, Any]) -> Data:
    """A size's content; its `image` part is laid over the rest for tasks with images."""
    layer = {key: dict(value) for key, value in size.items() if key != "image"}
    if task.get("image"):
        _lay_over(layer, size.get("image") or {}, "size.image")
    return layer


def _lay_over(data: Data, layer: Data, origin: str) -> None:
    for section, values in layer.items():
        if section not in SECTIONS:
            raise ConfigError(
                f"{origin} has an unknown section {section}. {nearest(section, SECTIONS)}"
            )
        data[section] = _merge(data.get(section) or {}, values)


def _merge(low: Data, high: Data) -> Data:
    """`high` over `low`, also below: one safety rule set by a body leaves the others alone."""
    merged = dict(low)
    for key, value in high.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merge(old, value)
        merged[key] = value
    return merged
