"""`daydreamer bench twin`: how fast a body is without anything around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from daydreamer import interrupts
from daydreamer.bench.figures import Figure, rate
from daydreamer.config import load
from robots.base import EpisodicBody


def bench_twin(words: Sequence[str]) -> Iterator[Figure]:
    """Control steps a second of the body alone, under random commands, as fast as it goes."""
    config = load(words)
    robot = config.body.build(config.task)
    rng = np.random.default_rng(config.seed)
    command = robot.spec.command
    low, high = np.asarray(command.low), np.asarray(command.high)

    def step() -> int:
        robot.command(rng.uniform(low, high).astype(np.float32))
        reading = robot.read()
        if isinstance(robot, EpisodicBody) and reading.values["is_last"]:
            robot.begin_episode()
        return 1

    interrupts.unwind()
    try:
        robot.connect()
        yield rate(robot.spec.name, "control_steps", "steps/s", step)
    finally:
        robot.close()
