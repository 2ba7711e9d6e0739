"""The control loop on bodies whose world begins anew, and on robots, which go on."""

from __future__ import annotations

from typing import Any

import numpy as np

from daydreamer.actor.clock import ControlClock
from daydreamer.actor.loop import ControlLoop
from daydreamer.actor.policy_runner import Choice
from daydreamer.actor.recorder import Recorder
from daydreamer.actor.session import draws_from
from daydreamer.wire.rows import RANDOM, Chunk, make_schema
from robots.safety import Safety, SafetyConfig
from sim.envs.config import EnvConfig, GymConfig


class Always:
    """A runner that chooses the same again and again."""

    must_rest, age_s = False, 0.0

    def __init__(self, action: list[float]) -> None:
        self.action = np.array(action, np.float32)

    def act(self, obs: object, executed: object, is_first: bool) -> Choice:
        return Choice(self.action, -1, RANDOM)


def drive(cfg: GymConfig, action: list[float], steps: int, rules: SafetyConfig) -> dict[str, Any]:
    """Columns of all rows of so many control steps."""
    task, robot = cfg.build(), EnvConfig(seed=3).build_for(cfg)
    chunks: list[Chunk] = []
    schema = make_schema(task.observations, task.action.size, task.log_keys)
    loop = ControlLoop(
        robot=robot,
        task=task,
        runner=Always(action),
        safety=Safety(rules, robot.spec),
        recorder=Recorder(
            schema, run="r", actor="0", session="s", chunk_rows=8, chunk_age_s=9, send=chunks.append
        ),
        clock=ControlClock(1 / robot.spec.control_hz, realtime=False),
        report=lambda record: None,
        beat=lambda: None,
    )
    loop.run(lambda: loop.steps >= steps)
    return {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in schema}


def test_the_next_episode_begins_at_a_fresh_start_with_no_reward_and_no_action() -> None:
    rows = drive(GymConfig(episode_steps=3), [1.0], 7, SafetyConfig())
    assert rows["is_first"].tolist() == [True, *3 * [False], True, *3 * [False], True, False]
    assert rows["is_last"].tolist() == [*3 * [False], True, *3 * [False], True, False, True]
    assert not rows["is_terminal"].any()
    first = rows["is_first"]
    assert not rows["reward"][first].any()
    assert not rows["action"][first].any()
    assert not rows["dt_s"][first].any()
    assert (rows["reward"][~first] < 0).all()
    assert (rows["action"][~first] == 1).all()
    # At the end of one episode and the start of the next, the clock is the same; the place is not.
    assert rows["time_s"][3] == rows["time_s"][4]
    assert (rows["vector"][3] != rows["vector"][4]).any()
    assert len({tuple(start) for start in rows["vector"][first].tolist()}) == 3


def test_a_fall_is_terminal_and_a_choice_is_stored_as_one_of_several() -> None:
    rows = drive(GymConfig(id="CartPole-v1"), [0.0, 1.0], 30, SafetyConfig())
    ends = np.flatnonzero(rows["is_last"])[:-1]  # the run's own end is none of the pole's
    assert len(ends) > 1
    assert rows["is_terminal"][ends].all()
    assert rows["is_first"][ends + 1].all()
    assert (rows["action"][~rows["is_first"]] == [0, 1]).all()
    assert (rows["reward"][~rows["is_first"]] == 1).all()


def test_a_rule_about_change_does_not_span_two_episodes() -> None:
    rules = SafetyConfig(command_rate="stop", command_rate_limit=1.0)
    rows = drive(GymConfig(episode_steps=2), [1.0], 5, rules)
    assert (rows["action"][~rows["is_first"]] == 1).all()


def test_two_actors_of_a_run_with_one_seed_begin_their_episodes_apart() -> None:
    def start(actor: str, steps: int) -> tuple[float, ...]:
        robot = EnvConfig(seed=3).build_for(GymConfig())
        robot.skip(draws_from(actor, steps))
        robot.connect()
        found = robot.read().values["vector"]
        robot.close()
        return tuple(found.tolist())

    places = [(actor, steps) for actor in ("0", "1", "left", "right") for steps in (0, 200)]
    assert len({start(*place) for place in places}) == len(places)
    assert start("left", 0) == start("left", 0)


def test_the_only_actor_of_a_run_draws_as_the_seed_says() -> None:
    assert [draws_from("0", steps) for steps in (0, 7)] == [0, 7]
