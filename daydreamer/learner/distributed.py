"""One learner in several processes: rank 0 decides and speaks, the others do their share.

    rank 0     robots, archive, replay, checkpoints, metrics      rank 1 ..   nothing but an agent
               |  one batch drawn
               +-- UPDATE, layout ------------------------------> hear()
               +-- their rows ----------------------------------> scatter()
               agent.update() <---- gradients, means (DDP) -----> agent.update()

Words and batches travel on the CPU (gloo), what is averaged on the agent's device. Rank 0 speaks at
least once a second, and in each word every rank says whether it was asked to stop: an interrupted
one ends them all in order. Every wait is bounded, and a process that dies is noticed when its
connections close.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, distributed
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # it is documented
from torch.distributed.rendezvous import rendezvous

from daydreamer.agents.agent import Agent
from daydreamer.agents.ranks import ALONE, Ranks
from daydreamer.config.errors import ConfigError
from daydreamer.learner import state_tree
from daydreamer.learner.launch import Launch
from daydreamer.process import StopFlag

log = logging.getLogger(__name__)

TIMEOUT_S = 300.0  # no word from another process, which is still there: rank 0 may be reading rows
BEAT_S = 1.0
LEAVE_S = 10.0
IDLE, SETTINGS, STATE, UPDATE, STOP = range(5)
_TREE = "$tree"


class RankLostError(Exception):
    """Another process of this learner is gone or silent. Says what to do."""


class Team:
    """The processes that train together, as one of them sees it."""

    def __init__(self, ranks: Ranks, stop: StopFlag, *, pin: bool = False) -> None:
        """stop: set when any rank's was. pin: batches go to page-locked memory, for a GPU."""
        self.ranks, self._stop, self._pin = ranks, stop, pin
        self.is_broken = False

    def tell(self, word: int, payload: bytes = b"") -> None:
        """Rank 0 only. Raises RankLostError."""
        with self.watched():
            self._exchange(word, len(payload))
            if payload:
                distributed.broadcast(torch.frombuffer(bytearray(payload), dtype=torch.uint8), 0)

    def hear(self) -> tuple[int, bytes]:
        """The next word and what belongs to it. Raises RankLostError."""
        with self.watched():
            word, size = self._exchange(IDLE, 0)
            payload = torch.empty(size, dtype=torch.uint8)
            if size:
                distributed.broadcast(payload, 0)
            return word, payload.numpy().tobytes()

    def _exchange(self, word: int, size: int) -> tuple[int, int]:
        said = torch.tensor([word, size, int(self._stop())])
        distributed.all_reduce(said, distributed.ReduceOp.MAX)
        word, size, stop = said.tolist()
        if stop:
            self._stop.set()
        return word, size

    def scatter(
        self, layout: Mapping[str, tuple[str, list[int]]], batch: Mapping[str, Tensor] | None
    ) -> dict[str, Tensor]:
        """Own rows of the batch that rank 0 has. layout: name -> dtype and shape of a share."""
        own = {}
        for name, (dtype, shape) in layout.items():
            own[name] = torch.empty(shape, dtype=getattr(torch, dtype), pin_memory=self._pin)
            shares = None
            if batch is not None:
                joint = batch[name].contiguous().view(torch.uint8)
                shares = list(joint.chunk(self.ranks.size))
            distributed.scatter(own[name].view(torch.uint8), shares, 0)
        return own

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Raise RankLostError for what communication raises when a process is gone."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
                raise
            self.is_broken = True
            reason = " ".join(str(error).split()).partition(". ")[0]
            raise RankLostError(
                f"rank {self.ranks.rank} has lost another of the learner's {self.ranks.size} "
                f"processes ({reason}). Look at what that one said last. Start the learner again "
                "with the same run=DIR: it goes on from its last checkpoint, and all rows received "
                "are in the archive."
            ) from error


@contextlib.contextmanager
def joined(
    launch: Launch,
    settings: Mapping[str, Any],
    stop: StopFlag,
    device: str,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[Team]:
    """Meet the other processes that torchrun has started. Alone: meets nobody.

    settings: what all ranks must agree on, as flat JSON. Raises ConfigError where they do not.
    """
    if launch.size == 1:
        yield Team(ALONE, stop)
        return
    on_gpu = device != "cpu"
    if on_gpu:
        torch.cuda.set_device(device)
    team = Team(Ranks(launch.rank, launch.size), stop, pin=on_gpu)
    # Signals kill: their handlers would have to wait for a process that may never come.
    with team.watched(), _signals_kill():
        limit = timedelta(seconds=timeout_s)
        store, _, _ = next(rendezvous("env://", launch.rank, launch.size, timeout=limit))
        # torchrun may keep its store when it starts the ranks again: in there are the addresses of
        # those that died.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=PrefixStore(f"attempt {attempt}", store),
            rank=launch.rank,
            world_size=launch.size,
            timeout=limit,
        )
    try:
        _compare(team, settings)
        yield team
    finally:
        _leave()


def _leave() -> None:
    """End the group, also a broken one: its threads would abort the process where it exits."""
    # In a thread, for a bound: nobody says how long this takes when the others are gone.
    leaving = threading.Thread(target=distributed.destroy_process_group, daemon=True)
    leaving.start()
    leaving.join(LEAVE_S)


@contextlib.contextmanager
def _signals_kill() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _compare(team: Team, settings: Mapping[str, Any]) -> None:
    if team.ranks.rank == 0:
        team.tell(SETTINGS, json.dumps(settings).encode())
        return
    first = json.loads(team.hear()[1])
    own = json.loads(json.dumps(settings))
    different = [
        f"{key}: {own.get(key)} here, {first.get(key)} there"
        for key in sorted(own.keys() | first.keys())
        if own.get(key) != first.get(key)
    ]
    if different:
        raise ConfigError(
            f"rank {team.ranks.rank} on {os.uname().nodename} has other settings than rank 0: "
            + "; ".join(different)
            + ". Give every torchrun the same words, and a run=DIR that all machines share or copy."
        )


class LeadingAgent:
    """Rank 0's agent: what is asked of it, all ranks' agents do."""

    def __init__(self, agent: Agent, team: Team, stop: StopFlag) -> None:
        self._agent, self._team, self._stop = agent, team, stop
        self._spoke_s = time.monotonic()
        self.is_midway = False  # in an exchange, in which others expect no new word

    @property
    def updates(self) -> int:
        """Done so far."""
        return self._agent.updates

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update from the joint batch (B, T, ...), each rank on its own rows."""
        layout = {
            name: (
                str(x.dtype).removeprefix("torch."),
                [len(x) // self._team.ranks.size, *x.shape[1:]],
            )
            for name, x in batch.items()
        }
        with self._midway():
            self._team.tell(UPDATE, json.dumps(layout).encode())
            return _update(self._agent, self._team, layout, batch)

    def wants_stop(self) -> bool:
        """Whether any rank was asked to stop. Call between updates: it is also a sign of life."""
        if time.monotonic() - self._spoke_s >= BEAT_S:
            with self._midway():
                self._team.tell(IDLE)
        return self._stop()

    def policy_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What does the task best."""
        return self._agent.policy_arrays()

    def collector_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What ships."""
        return self._agent.collector_arrays()

    def state_dict(self) -> dict[str, Any]:
        """Of every rank: they are equal, and know nothing of how many there are."""
        return self._agent.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue on all ranks where state_dict() was taken. Raises on another agent's state."""
        self._agent.load_state_dict(state)
        plain, tensors = state_tree.split(state)
        tree = torch.frombuffer(bytearray(json.dumps(plain).encode()), dtype=torch.uint8)
        with self._midway():
            self._team.tell(STATE, save_tensors({**tensors, _TREE: tree}))

    @contextlib.contextmanager
    def _midway(self) -> Iterator[None]:
        self.is_midway = True
        yield
        self.is_midway = False  # and stays True when something was raised
        self._spoke_s = time.monotonic()


@contextlib.contextmanager
def leading(agent: Agent, team: Team, stop: StopFlag) -> Iterator[LeadingAgent]:
    """Rank 0: lead until the end of the block, then send the others home."""
    leader = LeadingAgent(agent, team, stop)
    try:
        yield leader
    finally:
        if not (leader.is_midway or team.is_broken):
            team.tell(STOP)


def follow(agent: Agent, team: Team) -> None:
    """The other ranks: do what rank 0 says until it says STOP. Raises RankLostError."""
    log.info("rank %d of %d helps to train", team.ranks.rank, team.ranks.size)
    while True:
        word, payload = team.hear()
        if word == STOP:
            return
        if word == STATE:
            tensors = load_tensors(payload)
            tree = json.loads(tensors.pop(_TREE).numpy().tobytes())
            agent.load_state_dict(state_tree.join(tree, tensors))
        elif word == UPDATE:
            _update(agent, team, json.loads(payload), None)


def _update(
    agent: Agent,
    team: Team,
    layout: Mapping[str, tuple[str, list[int]]],
    batch: Mapping[str, Tensor] | None,
) -> dict[str, Tensor]:
    with team.watched():
        return agent.update(team.scatter(layout, batch))
