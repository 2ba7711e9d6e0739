"""Chooses actions; builds a policy from new weights elsewhere and swaps it in between two steps.

    loading thread:  weights -> policy: check, lay out, warm -> offer; drop the retired one
    control thread:  act(): offer? retired, current = current, offer -> step current

Each name is assigned by one thread at a time, so neither ever waits for the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np

from daydreamer.models.numpy_policy import NumpyPolicy, PolicyState
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
    policy: NumpyPolicy
    version: int
    received_s: float


class PolicyRunner:
    """Random (or no) action until a policy arrives, then the newest policy that arrived."""

    def __init__(
        self,
        make_policy: Callable[[Mapping[str, Array]], NumpyPolicy],
        observations: Mapping[str, ArraySpec],
        action: ActionSpec,
        *,
        seed: int,
        random_until_policy: bool = True,
        max_policy_age_s: float = float("inf"),
        on_old_policy: OldPolicy = "run",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """make_policy: from weights; raises ValueError for those that do not fit.

        max_policy_age_s: seconds since the policy arrived after which on_old_policy applies.
        """
        self.refused = 0  # weights that did not fit
        self._make_policy = make_policy
        self._observations, self._action = observations, action
        self._random_until_policy = random_until_policy
        self._max_age_s = max_policy_age_s
        self._on_old = on_old_policy
        self._now = now
        self._rng = np.random.default_rng(seed)
        self._start_s = now()
        self._current: _Loaded | None = None
        self._offer: _Loaded | None = None
        self._retired: _Loaded | None = None
        self._state: PolicyState | None = None

    @property
    def version(self) -> int:
        """Of the policy in use; -1 before the first."""
        return NO_POLICY if self._current is None else self._current.version

    @property
    def age_s(self) -> float:
        """Seconds since the policy in use arrived (before the first: since the start)."""
        since_s = self._start_s if self._current is None else self._current.received_s
        return self._now() - since_s

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
        if self._current is None:
            if self._random_until_policy:
                return Choice(self._random_action(), NO_POLICY, RANDOM)
            return Choice(executed, NO_POLICY, SCRIPTED)
        # Also while holding: the belief stays current.
        action = self._step(self._current.policy, obs, executed, is_first)
        if self._on_old == "hold" and self._is_old:
            return Choice(executed, NO_POLICY, SCRIPTED)
        return Choice(action, self.version, POLICY)

    def load(self, weights: Weights, age_s: float = 0.0) -> bool:
        """Build a policy and offer it; False when the weights do not fit. Loading thread.

        age_s: how long ago they arrived.
        """
        self._retired = None  # here, as handing back its memory takes time
        try:
            with np.errstate(all="ignore"):  # _warm() looks at what comes of it
                policy = self._make_policy(weights.tensors)
                self._warm(policy)
        except ValueError as error:
            self.refused += 1
            if self.refused == 1:
                log.error(
                    "policy version %d refused, the last one stays: %s", weights.version, error
                )
            return False
        self._offer = _Loaded(policy, weights.version, self._now() - age_s)
        return True

    @property
    def _is_old(self) -> bool:
        return self.version != NO_POLICY and self.age_s > self._max_age_s

    def _swap(self, offer: _Loaded) -> None:
        if self._current is None:
            log.info("first policy (version %d) takes over", offer.version)
        # In this order: the loading thread drops the retired one as soon as the offer is gone.
        self._retired, self._current = self._current, offer
        self._offer = None

    def _step(
        self, policy: NumpyPolicy, obs: Mapping[str, Array], executed: FloatArray, is_first: bool
    ) -> FloatArray:
        first = is_first or self._state is None
        state = policy.initial() if self._state is None else self._state
        action, self._state = policy.step(obs, executed, first, state, "sample", self._rng)
        return action

    def _random_action(self) -> FloatArray:
        size = self._action.size
        if self._action.kind == "discrete":
            one_hot: FloatArray = np.zeros(size, np.float32)
            one_hot[self._rng.integers(size)] = 1
            return one_hot
        return self._rng.uniform(-1, 1, size).astype(np.float32)

    def _warm(self, policy: NumpyPolicy) -> None:
        """One step on zeros: memory is touched for the first time here, and an overflow shows."""
        obs = {name: np.zeros(spec.shape, spec.dtype) for name, spec in self._observations.items()}
        nothing, rng = np.zeros(self._action.size, np.float32), np.random.default_rng(0)
        action, state = policy.step(obs, nothing, False, policy.initial(), "mode", rng)
        if not (np.isfinite(action).all() and np.isfinite(state.h).all()):
            raise ValueError("what it makes of its first observation is not finite")


class WeightsLoader:
    """The loading thread: brings the newest weights from the link into the runner."""

    def __init__(
        self,
        newest: Callable[[], Weights | None],
        runner: PolicyRunner,
        *,
        keep: Callable[[Weights], None] = lambda weights: None,
        poll_s: float = 0.02,
    ) -> None:
        """keep: told of weights that were accepted, in the loading thread."""
        self._newest, self._runner, self._keep, self._poll_s = newest, runner, keep, poll_s
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
            if not self._runner.wants_weights or (weights := self._newest()) is None:
                continue
            if self._runner.load(weights):
                self._keep(weights)
