"""What must agree between actor and learner before any row flows."""

from __future__ import annotations

from collections.abc import Mapping

from daydreamer.wire.checks import Scalar
from daydreamer.wire.headers import brief, schema_differences
from daydreamer.wire.messages import Hello
from daydreamer.wire.rows import Schema


def differences(
    hello: Hello, fingerprint: str, config: Mapping[str, Scalar], schema: Schema
) -> tuple[str, ...]:
    """Lines 'key: actor has X, learner has Y'; empty when the actor may stream."""
    lines = []
    if hello.fingerprint != fingerprint:
        for key in sorted(hello.config.keys() | config.keys()):
            actor, learner = _show(hello.config, key), _show(config, key)
            if actor != learner:
                lines.append(f"{key}: actor has {actor}, learner has {learner}")
    lines += schema_differences(hello.schema, schema, "actor has", "learner has")
    if not lines and hello.fingerprint != fingerprint:
        actor, learner = brief(hello.fingerprint), brief(fingerprint)
        lines.append(f"fingerprint: actor has {actor}, learner has {learner}")
    return tuple(lines[:1000])


def _show(config: Mapping[str, Scalar], key: str) -> str:
    return brief(config[key]) if key in config else "nothing"
