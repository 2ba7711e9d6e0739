"""What a robot runs: policy.Policy for one observation at a time, in numpy, without torch.

On a robot's small computer it starts sooner, takes a fraction of the memory and steps faster:
docs/decisions/0051-the-actor-steps-in-numpy.md. policy.Policy defines what is computed, and
tests/models/test_numpy_policy.py holds the two equal.

D deterministic, F numbers of z, U units, A action.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daydreamer.agents.config import AgentConfig
from daydreamer.models.numpy_encoder import Encoder
from daydreamer.models.numpy_latents import Belief, latents
from daydreamer.models.numpy_layers import (
    MLP,
    Bias,
    Norm,
    elu_after,
    mixed_probs,
    one_hot,
    sample_class,
    sigmoid,
)
from daydreamer.models.numpy_weights import Floats, Product, Shelf, product
from robots.base import ActionSpec, ArraySpec


class PolicyState(NamedTuple):
    """Carried between two control steps: belief h (D,), z, correlated noise (A,).

    z: as numpy_latents carries it; where it is one-hot, the indices of its ones.
    """

    h: Floats
    z: Belief
    noise: Floats


class NumpyPolicy:
    """One control step of behaviour: look, update the belief, choose.

    Its weights never change. One thread at a time: images pass through buffers of its own.
    """

    def __init__(
        self,
        cfg: AgentConfig,
        observations: Mapping[str, ArraySpec],
        action: ActionSpec,
        arrays: Mapping[str, NDArray[Any]] | None,
    ) -> None:
        """arrays: of policy.Policy.arrays(), or None for zeros.

        Raises ValueError naming what does not fit.
        """
        self._cfg, self._action = cfg, action
        self._continuous = action.kind == "continuous"
        self._correlation = cfg.noise_correlation if self._continuous else 0.0
        self._latents = latents(cfg)
        deter, units, flat = cfg.deter, cfg.units, self._latents.flat
        shelf, act = Shelf(arrays), elu_after(cfg.norm)

        def linear(name: str, n_out: int, n_in: int) -> Product:
            return product(shelf, shelf.take(f"{name}.weight", n_out, n_in))

        self._encoder = Encoder(shelf, cfg, observations)

        from_z = shelf.take("cell.from_z.weight", units, flat)
        self._from_z = self._latents.product(shelf, from_z)
        self._from_action = linear("cell.from_action", units, action.size)
        self._cell_act = act(shelf, "cell.inputs_norm", units)
        self._gates = linear("cell.gates", 3 * deter, units + deter)
        gates_norm = Norm if cfg.gru_norm else Bias
        self._gates_norm = gates_norm(shelf, "cell.gates_norm", 3 * deter)

        embed = self._encoder.embed_size
        self._from_h = linear("posterior.from_h", units, deter)
        self._from_embed = linear("posterior.from_embed", units, embed)
        self._posterior_act = act(shelf, "posterior.inputs_norm", units)
        layers = cfg.post_layers - 1
        n_out = self._latents.outputs
        self._posterior = MLP(shelf, "posterior.rest", units, units, layers, n_out, act=act)

        first = shelf.take("actor.mlp.blocks.0.weight", cfg.mlp_units, deter + flat)
        self._actor_from_h = product(shelf, first[:, :deter])
        self._actor_from_z = self._latents.product(shelf, first[:, deter:])
        self._actor_act = act(shelf, "actor.mlp.blocks.1", cfg.mlp_units)
        n_out = action.size * (2 if self._continuous else 1)
        width, layers = cfg.mlp_units, cfg.mlp_layers
        self._actor = MLP(shelf, "actor.mlp", width, width, layers, n_out, first=1, act=act)
        initial_z = self._latents.carried(shelf.take("initial_z", flat))
        self._initial = PolicyState(
            shelf.take("initial_h", deter), initial_z, np.zeros(action.size, np.float32)
        )
        shelf.close()
        self.shapes: Mapping[str, tuple[int, ...]] = shelf.shapes  # of the weights, by name

    def initial(self) -> PolicyState:
        """The belief before anything was seen."""
        return self._initial

    def step(
        self,
        obs: Mapping[str, NDArray[Any]],
        prev_action: Floats,
        is_first: bool,
        state: PolicyState,
        mode: str,
        rng: np.random.Generator,
    ) -> tuple[Floats, PolicyState]:
        """Choose an action. obs {key: (...)}, prev_action (A,) as executed.

        mode "sample" draws the action, "mode" takes the likeliest; the latent is drawn in both, as
        it was in training. Returns action (A,) in [-1, 1] or one-hot, and the new belief.
        """
        if mode not in ("sample", "mode"):
            raise ValueError(f"mode={mode!r}: choose sample or mode")
        if is_first:
            state = self._initial._replace(noise=state.noise)
        embed = self._encoder(obs)
        h = self._next_h(state, None if is_first else prev_action)
        x = self._from_h(h) + self._from_embed(embed)
        z = self._latents.draw(self._posterior(self._posterior_act(x)), rng)
        x = self._actor_from_h(h) + self._actor_from_z(z)
        out = self._actor(self._actor_act(x))
        if self._continuous:
            action, noise = self._choose_numbers(out, is_first, state.noise, mode, rng)
        else:
            action, noise = self._choose_one(out, mode, rng), state.noise
        return action, PolicyState(h, z, noise)

    def _next_h(self, state: PolicyState, action: Floats | None) -> Floats:
        """rssm.Cell. action: None where none led here."""
        h, deter = state.h, self._cfg.deter
        x = self._from_z(state.z)
        if action is not None:
            x += self._from_action(np.asarray(action, np.float32))
        x = self._cell_act(x)
        parts = self._gates_norm(self._gates(np.concatenate([x, h])))
        reset, candidate, update = parts[:deter], parts[deter : 2 * deter], parts[2 * deter :]
        candidate = np.tanh(sigmoid(reset) * candidate)
        after: Floats = h + sigmoid(update - 1) * (candidate - h)
        return after

    def _choose_numbers(
        self, out: Floats, is_first: bool, past: Floats, mode: str, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Continuous action (A,) and the noise to remember, from (2A,) outputs."""
        cfg, size = self._cfg, self._action.size
        noise = rng.standard_normal(size, np.float32)
        if rho := self._correlation:
            # Same spread, slower: white noise would vanish in what a body filters its targets with.
            if not is_first:
                noise = rho * past + math.sqrt(1 - rho**2) * noise
            past = noise
        action = np.tanh(out[:size])
        if mode == "sample":
            std = cfg.min_std + (cfg.max_std - cfg.min_std) * sigmoid(out[size:])
            action += std * noise
        return np.clip(action, -1, 1, out=action), past

    def _choose_one(self, out: Floats, mode: str, rng: np.random.Generator) -> Floats:
        """Discrete action, one-hot (A,), from as many outputs."""
        probs = mixed_probs(out, self._cfg.actor_unimix)
        uniform = rng.random(1, np.float32)  # in both modes, as a continuous policy draws its noise
        best = probs.argmax() if mode == "mode" else sample_class(probs[None], uniform)[0]
        return one_hot(int(best), self._action.size)
