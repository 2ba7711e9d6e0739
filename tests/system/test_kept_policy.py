from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daydreamer.telemetry.metrics import read_metrics
from daydreamer.wire.weights import unpack_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_an_actor_whose_learner_is_away_starts_with_the_policy_it_had(
    start: Callable[..., Any], new_run: list[str], port: int, tmp_path: Path
) -> None:
    first = start("dryrun", *new_run, "steps=300")
    assert first.wait() == 0, first.text
    folder = tmp_path / "run" / "actor-0"
    kept = unpack_weights((folder / "policy.safetensors").read_bytes())
    assert kept.version > 0

    alone = start(
        *("actor", *new_run, "steps=400", f"learner=tcp://127.0.0.1:{port}"),
        *("actor.drain_s=0.2", "actor.realtime=false"),
    )
    assert alone.wait() == 0, alone.text
    assert f"starting from policy version {kept.version}, kept" in alone.text
    line = [x for x in read_metrics(folder / "metrics.jsonl") if "actor/random_steps" in x][-1]
    assert (line["actor/random_steps"], line["actor/policy_version"]) == (0, kept.version)
