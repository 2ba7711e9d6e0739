"""Chooses actions; takes new weights in a spare copy and swaps it in between two steps.

    loading thread:  weights -> spare: load, check, warm -> offer
    control thread:  act(): offer? current, spare = offer, current -> step current

Each name is assigned by one thread at a time, so neither ever waits for the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import torch

from daydreamer.models.policy import Policy, PolicyState
from daydreamer.wire.rows import POLICY, RANDOM, SCRIPTED, Array
from daydreamer.wire.weights import Weights
from robots.base import ActionSpec, ArraySpec, FloatArray

log = logging.getLogger(__name__)

NO_POLICY = -1
OldPolicy = Literal["run", "hold", "stop"]


class Choice(NamedTuple):
    """What to do next: action (A,) in [-1, 1] or one-hot, who chose it, by which version."""

    action: FloatArray
    version: int
    who: int


class _Loaded(NamedTuple):
    policy: Policy
    version: int
    received_s: float


class PolicyRunner:
    """Random (or no) action until a policy arrives, then the newest policy that arrived."""

    def __init__(
        self,
        make_policy: Callable[[], Policy],
        observations: Mapping[str, ArraySpec],
        action: ActionSpec,
        *,
        seed: int,
        random_until_policy: bool = True,
        max_policy_age_s: float = float("inf"),
        on_old_policy: OldPolicy = "run",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """max_policy_age_s: seconds since the policy arrived after which on_old_policy applies."""
        self.refused = 0  # weights that did not fit
        self._observations, self._action = observations, action
        self._random_until_policy = random_until_policy
        self._max_age_s = max_policy_age_s
        self._on_old = on_old_policy
        self._now = now
        self._generator = torch.Generator().manual_seed(seed)
        self._rng = np.random.default_rng(seed)
        self._current = _Loaded(make_policy(), NO_POLICY, now())
        self._spare = make_policy()
        self._offer: _Loaded | None = None
        self._state: PolicyState | None = None

    @property
    def version(self) -> int:
        """Of the policy in use; -1 before the first."""
        return self._current.version

    @property
    def age_s(self) -> float:
        """Seconds since the policy in use arrived (before the first: since the start)."""
        return self._now() - self._current.received_s

    @property
    def must_rest(self) -> bool:
        """Whether the robot should come to rest until a newer policy is there."""
        return self._on_old == "stop" and self._is_old and self._offer is None

    @property
    def wants_weights(self) -> bool:
        """False while loaded weights still wait for their turn."""
        return self._offer is None

    def act(self, obs: Mapping[str, Array], executed: FloatArray, is_first: bool) -> Choice:
        """Choose an action. Control thread. executed: (A,), what led to obs."""
        if self._offer is not None:
            self._swap(self._offer)
        if self.version == NO_POLICY:
            if self._random_until_policy:
                return Choice(self._random_action(), NO_POLICY, RANDOM)
            return Choice(executed, NO_POLICY, SCRIPTED)
        action = self._step(obs, executed, is_first)  # also while holding: the belief stays current
        if self._on_old == "hold" and self._is_old:
            return Choice(executed, NO_POLICY, SCRIPTED)
        return Choice(action, self.version, POLICY)

    def load(self, weights: Weights) -> bool:
        """Load the spare copy and offer it; False when the weights do not fit. Loading thread."""
        spare = self._spare
        try:
            spare.load_arrays(weights.tensors)
            self._warm(spare)
        except (ValueError, RuntimeError) as error:
            self.refused += 1
            if self.refused == 1:
                log.error(
                    "policy version %d refused, the last one stays: %s", weights.version, error
                )
            return False
        self._offer = _Loaded(spare, weights.version, self._now())
        return True

    @property
    def _is_old(self) -> bool:
        return self.version != NO_POLICY and self.age_s > self._max_age_s

    def _swap(self, offer: _Loaded) -> None:
        if self.version == NO_POLICY:
            log.info("first policy (version %d) takes over", offer.version)
        # In this order: the loading thread touches the spare as soon as the offer is gone.
        self._spare, self._current = self._current.policy, offer
        self._offer = None

    def _step(self, obs: Mapping[str, Array], executed: FloatArray, is_first: bool) -> FloatArray:
        policy = self._current.policy
        first = is_first or self._state is None
        state = policy.initial() if self._state is None else self._state
        action, self._state = policy.step(
            {name: torch.from_numpy(np.array(value)[None]) for name, value in obs.items()},
            torch.from_numpy(executed[None]),
            torch.tensor([first]),
            state,
            mode="sample",
            generator=self._generator,
        )
        chosen: FloatArray = action[0].numpy()
        return chosen

    def _random_action(self) -> FloatArray:
        size = self._action.size
        if self._action.kind == "discrete":
            one_hot: FloatArray = np.zeros(size, np.float32)
            one_hot[self._rng.integers(size)] = 1
            return one_hot
        return self._rng.uniform(-1, 1, size).astype(np.float32)

    def _warm(self, policy: Policy) -> None:
        """One step on zeros: what is built lazily is built here, and a NaN shows."""
        action, _ = policy.step(
            {
                name: torch.from_numpy(np.zeros((1, *spec.shape), spec.dtype))
                for name, spec in self._observations.items()
            },
            torch.zeros(1, self._action.size),
            torch.tensor([True]),
            policy.initial(),
            mode="mode",
            generator=torch.Generator().manual_seed(0),  # the run's own stays untouched
        )
        if not bool(torch.isfinite(action).all()):
            raise ValueError("its first action is not finite")


class WeightsLoader:
    """The loading thread: brings the newest weights from the link into the runner."""

    def __init__(
        self, newest: Callable[[], Weights | None], runner: PolicyRunner, poll_s: float = 0.02
    ) -> None:
        self._newest, self._runner, self._poll_s = newest, runner, poll_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weights-loader", daemon=True)

    def start(self) -> None:
        """Begin taking weights."""
        self._thread.start()

    def close(self) -> None:
        """Stop; waits for a load in progress, at most a few seconds."""
        self._stop.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stop.wait(self._poll_s):
            if self._runner.wants_weights and (weights := self._newest()) is not None:
                self._runner.load(weights)
