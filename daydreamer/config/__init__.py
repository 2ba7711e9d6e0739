"""Configs: Hydra composes groups, dataclasses type them. Start at schema.py."""

from __future__ import annotations

from daydreamer.config.errors import ConfigError
from daydreamer.config.loading import load
from daydreamer.config.nodes import BodyNode, TaskNode
from daydreamer.config.runs import differences, fingerprint, load_run, open_run, save
from daydreamer.config.schema import ActorConfig, Config, LearnerConfig, WireConfig

__all__ = [
    "ActorConfig",
    "BodyNode",
    "Config",
    "ConfigError",
    "LearnerConfig",
    "TaskNode",
    "WireConfig",
    "differences",
    "fingerprint",
    "load",
    "load_run",
    "open_run",
    "save",
]
