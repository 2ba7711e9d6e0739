from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from daydreamer.actor.policy_runner import PolicyRunner, WeightsLoader
from daydreamer.agents.config import AgentConfig
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.models.policy import build_policy
from daydreamer.wire.rows import POLICY, RANDOM, SCRIPTED
from daydreamer.wire.weights import Weights, pack_weights, unpack_weights
from robots.base import ActionSpec, ArraySpec

OBSERVATIONS = {"vector": ArraySpec((3,))}
ACTION = ActionSpec("continuous", 2)
NOTHING = np.zeros(2, np.float32)
OBS = {"vector": np.ones(3, np.float32)}
TINY = AgentConfig(
    deter=8, units=8, stoch=2, classes=3, prior_layers=1, mlp_layers=1, mlp_units=8, cnn_depth=2
)


def make_runner(action: ActionSpec = ACTION, **options: Any) -> PolicyRunner:
    make_policy = partial(NumpyPolicy, TINY, OBSERVATIONS, action)
    return PolicyRunner(make_policy, OBSERVATIONS, action, **{"seed": 0, **options})


def make_weights(version: int, seed: int = 0) -> Weights:
    torch.manual_seed(seed)
    arrays = build_policy(TINY, OBSERVATIONS, ACTION).arrays()
    return unpack_weights(pack_weights(arrays, version, 0.0))


def test_actions_are_random_within_the_range_until_a_policy_arrives() -> None:
    runner = make_runner()
    choices = [runner.act(OBS, NOTHING, is_first=False) for _ in range(200)]
    actions = np.stack([choice.action for choice in choices])
    assert {choice.who for choice in choices} == {RANDOM}
    assert {choice.version for choice in choices} == {-1}
    assert actions.min() >= -1
    assert actions.max() <= 1
    assert actions.std() > 0.4


def test_discrete_random_actions_are_one_hot_and_all_drawn() -> None:
    runner = make_runner(ActionSpec("discrete", 4))
    actions = np.stack([runner.act(OBS, NOTHING, is_first=False).action for _ in range(100)])
    assert (actions.sum(1) == 1).all()
    assert (actions.sum(0) > 0).all()


def test_the_robot_can_hold_still_instead_until_a_policy_arrives() -> None:
    runner = make_runner(random_until_policy=False)
    executed = np.array([0.5, -0.5], np.float32)
    choice = runner.act(OBS, executed, is_first=False)
    assert choice.action.tolist() == [0.5, -0.5]
    assert choice.who == SCRIPTED


def test_loaded_weights_take_over_between_two_steps() -> None:
    runner = make_runner()
    assert runner.load(make_weights(5))
    assert runner.version == -1  # the control thread has not stepped yet
    assert not runner.wants_weights
    choice = runner.act(OBS, NOTHING, is_first=True)
    assert (choice.version, choice.who) == (5, POLICY)
    assert runner.wants_weights


def test_the_newest_weights_decide_the_action() -> None:
    def act(*seeds: int) -> list[float]:
        runner = make_runner()
        for version, seed in enumerate(seeds):
            runner.load(make_weights(version, seed))
            runner.act(OBS, NOTHING, is_first=True)
        runner._rng, runner._state = np.random.default_rng(0), None
        return runner.act(OBS, NOTHING, is_first=True).action.tolist()

    assert act(1, 2, 3) == act(3)
    assert act(1, 2, 3) != act(2)


def test_the_same_seed_gives_the_same_actions() -> None:
    def actions() -> list[list[float]]:
        runner = make_runner(seed=4)
        drawn = [runner.act(OBS, NOTHING, is_first=False).action.tolist() for _ in range(3)]
        runner.load(make_weights(1))
        return drawn + [runner.act(OBS, NOTHING, is_first=False).action.tolist() for _ in range(3)]

    assert actions() == actions()


@pytest.mark.parametrize("wrong", ["missing", "shape", "nan", "huge"])
def test_weights_that_do_not_fit_are_refused_and_the_policy_stays(wrong: str) -> None:
    runner = make_runner()
    runner.load(make_weights(1))
    runner.act(OBS, NOTHING, is_first=True)
    tensors = dict(make_weights(2).tensors)
    name = "actor.mlp.blocks.0.weight"
    if wrong == "missing":
        del tensors[name]
    elif wrong == "shape":
        tensors[name] = tensors[name][:, :-1]
    else:
        value = np.nan if wrong == "nan" else 3e38  # finite, until it is multiplied
        tensors[name] = np.full_like(tensors[name], value)
    assert not runner.load(Weights(2, 0.0, "", tensors))
    assert runner.refused == 1
    assert runner.act(OBS, NOTHING, is_first=False).version == 1


def test_an_old_policy_is_followed_held_or_rested_as_asked(fake_time: Any) -> None:
    def make(on_old: str) -> PolicyRunner:
        runner = make_runner(max_policy_age_s=10.0, on_old_policy=on_old, now=fake_time.now)
        runner.load(make_weights(1))
        runner.act(OBS, NOTHING, is_first=True)
        return runner

    executed = np.array([0.3, 0.4], np.float32)
    runners = {name: make(name) for name in ("run", "hold", "stop")}
    assert not runners["stop"].must_rest
    fake_time.now_s += 11
    assert runners["run"].act(OBS, executed, is_first=False).who == POLICY
    held = runners["hold"].act(OBS, executed, is_first=False)
    assert (held.who, held.action.tolist()) == (SCRIPTED, pytest.approx([0.3, 0.4]))
    assert runners["stop"].must_rest
    runners["stop"].load(make_weights(2))
    assert not runners["stop"].must_rest


def test_a_policy_that_arrived_long_ago_is_old_from_the_start(fake_time: Any) -> None:
    runner = make_runner(max_policy_age_s=10.0, on_old_policy="stop", now=fake_time.now)
    assert runner.load(make_weights(1), age_s=9.0)
    runner.act(OBS, NOTHING, is_first=True)
    assert runner.age_s == pytest.approx(9)
    assert not runner.must_rest
    fake_time.now_s += 2
    assert runner.must_rest


def test_accepted_weights_are_kept_and_refused_ones_are_not() -> None:
    runner = make_runner()
    arrived = [make_weights(1), Weights(2, 0.0, "", {"stranger": NOTHING}), make_weights(3)]
    kept: list[int] = []
    loader = WeightsLoader(
        lambda: arrived.pop(0) if arrived else None,
        runner,
        keep=lambda weights: kept.append(weights.version),
        poll_s=0.001,
    )
    loader.start()
    deadline_s = time.monotonic() + 10
    while runner.version != 3 and time.monotonic() < deadline_s:
        runner.act(OBS, NOTHING, is_first=False)
        time.sleep(0.001)
    loader.close()
    assert kept == [1, 3]
    assert runner.refused == 1


def test_the_loading_thread_never_touches_the_policy_in_use() -> None:
    runner = make_runner()
    seen: dict[int, list[float]] = {}
    versions = iter(range(1, 10_000))
    blobs = [make_weights(0, seed) for seed in (1, 2)]

    def newest() -> Weights:
        version = next(versions)
        return Weights(version, 0.0, "", blobs[version % 2].tensors)

    loader = WeightsLoader(newest, runner, poll_s=0.0005)
    loader.start()
    deadline_s = time.monotonic() + 20
    while len(seen) < 30 and time.monotonic() < deadline_s:
        runner._rng, runner._state = np.random.default_rng(0), None
        choice = runner.act(OBS, NOTHING, is_first=True)
        if choice.version < 0:
            continue
        # A policy that is overwritten while it is stepped would mix two sets of weights.
        expected = seen.setdefault(choice.version % 2, choice.action.tolist())
        assert choice.action.tolist() == expected
        seen[choice.version] = expected
    loader.close()
    assert len(seen) >= 30
    assert not any(thread.name == "weights-loader" for thread in threading.enumerate())


def test_a_loader_that_finds_nothing_leaves_the_runner_alone() -> None:
    runner = make_runner()
    asked: list[int] = []

    def newest() -> None:
        asked.append(1)

    finder: Callable[[], Weights | None] = newest
    loader = WeightsLoader(finder, runner, poll_s=0.001)
    loader.start()
    deadline_s = time.monotonic() + 5
    while not asked and time.monotonic() < deadline_s:
        time.sleep(0.001)
    loader.close()
    assert asked
    assert runner.act(OBS, NOTHING, is_first=True).who == RANDOM
