"""Floating-point operations of one update, from shapes alone: the arithmetic of the method.

Counted are matrix products and convolutions whose result somebody reads, two operations for each
multiply-add, as if every factor were dense (of a one-hot latent too, where a gather would do):

- the world model learns from B*T rows: forward, gradients of its weights and of its inputs;
- from N = B*T rows (or imagination_starts), H steps are imagined through the frozen world model:
  forward and, unless the actor's gradient is REINFORCE alone, gradients of inputs; the actor is
  evaluated once a step;
- what explores imagines, and learns an actor and a critic, once more; its ensemble learns from the
  rows, and is evaluated on each imagined one;
- no gradient goes to observations, to replayed actions or to the states that imagination starts at.

Not counted: norms, activations, sampling, losses, optimizers. An implementation may do more or
less than this; the count stays the same, so that shares of a machine's rate can be compared.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from daydreamer.agents.config import AgentConfig
from robots.base import ActionSpec, ArraySpec

ENCODER_SIDES = (31, 14, 6, 2)  # of a 64x64 image after each convolution: kernel 4, stride 2
DECODER = ((1, 5), (5, 5), (13, 6), (30, 6))  # each transposed convolution: side read, kernel


@dataclass(frozen=True)
class Flops:
    """Operations of one part of an update."""

    forward: float = 0.0
    input_grad: float = 0.0
    weight_grad: float = 0.0

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.forward + other.forward,
            self.input_grad + other.input_grad,
            self.weight_grad + other.weight_grad,
        )

    @property
    def total(self) -> float:
        """All three."""
        return self.forward + self.input_grad + self.weight_grad


def update_flops(
    cfg: AgentConfig,
    observations: Mapping[str, ArraySpec],
    action: ActionSpec,
    *,
    batch: int,
    length: int,
) -> dict[str, Flops]:
    """Operations of one update on rows (batch, length), by part; one that explores, if any does."""
    numbers = sum(math.prod(spec.shape) for spec in observations.values() if not spec.is_image)
    channels = sum(spec.shape[2] for spec in observations.values() if spec.is_image)
    units, deter = cfg.units, cfg.deter
    # Numbers of z, and of a layer that says its distribution.
    is_gaussian = cfg.latents == "gaussian"
    flat = cfg.stoch if is_gaussian else cfg.stoch * cfg.classes
    stats = 2 * flat if is_gaussian else flat
    feat = deter + flat
    embed = (cfg.mlp_units if numbers else 0) + (_embedded(cfg.cnn_depth) if channels else 0)
    continuous = action.kind == "continuous"

    from_action, from_z = [action.size * units], [flat * units]
    gates = [(units + deter) * 3 * deter]
    prior = _mlp(deter, units, cfg.prior_layers, stats)
    posterior = [deter * units, *_mlp(units, units, cfg.post_layers - 1, stats)]
    head = _mlp(feat, cfg.mlp_units, cfg.mlp_layers, 1)
    actor = _mlp(feat, cfg.mlp_units, cfg.mlp_layers, action.size * (2 if continuous else 1))

    rows = batch * length
    encoder = decoder = Flops()
    if numbers:
        layers = _mlp(numbers, cfg.mlp_units, cfg.mlp_layers)
        encoder += _learned(layers, rows, first=0)
        layers = _mlp(feat, cfg.mlp_units, cfg.mlp_layers, numbers)
        decoder += _learned(layers, rows, first=rows)
    if channels:
        encoder += _learned(_convolutions(cfg.cnn_depth, channels), rows, first=0)
        layers = _transposed_convolutions(cfg.cnn_depth, channels, feat)
        decoder += _learned(layers, rows, first=rows)

    starts = min(cfg.imagination_starts or rows, rows)
    imagined = starts * cfg.horizon
    reinforce = cfg.reinforce_share
    if reinforce is None:
        reinforce = 0.0 if continuous else 1.0
    through = imagined if reinforce < 1 else 0  # states that hand the actor's gradient on
    parts = {
        "encoder": encoder,
        "dynamics": _learned(from_action, rows, first=0)
        # What a window starts from is no sample: its first rows hand no gradient on.
        + _learned(from_z, rows, first=rows - batch)
        + _learned(gates, rows, first=rows)
        + _learned([embed * units], rows, first=rows)
        + _learned(posterior, rows, first=rows)
        + _learned(prior, rows, first=rows),
        "decoder": decoder,
        "reward and continue": _learned(head, 2 * rows, first=2 * rows),
    }
    behavior = {
        "imagination": _frozen(from_action, imagined, through)
        + _frozen(from_z, imagined, max(0, through - starts))
        + _frozen(gates, imagined, through)
        + _frozen(prior, imagined, through),
        "imagined reward and continue": _frozen(head, 2 * imagined, 2 * through),
        "slow critic": _frozen(head, imagined + starts, through),
        "actor": _learned(actor, imagined, first=0),
        "critic": _learned(head, imagined, first=0),
    }
    parts.update(behavior)
    if cfg.explore_updates:
        members, member = cfg.explore_models, _mlp(deter, cfg.mlp_units, cfg.mlp_layers, flat)
        parts.update({f"exploring: {name}": part for name, part in behavior.items()})
        if not cfg.explore_extrinsic:  # nobody reads the reward
            continues = _frozen(head, imagined, through)
            parts["exploring: imagined reward and continue"] = continues
        parts["exploring: ensemble"] = _learned(member, members * rows, first=0)
        parts["exploring: disagreement"] = _frozen(member, members * imagined, members * through)
    return parts


def _learned(layers: Sequence[int], rows: int, *, first: int) -> Flops:
    """A stack of layers, given by multiply-adds a row, that learns.

    first: rows whose gradient goes on below the first layer.
    """
    forward = 2.0 * rows * sum(layers)
    return Flops(forward, 2.0 * (rows * sum(layers[1:]) + first * layers[0]), forward)


def _frozen(layers: Sequence[int], rows: int, through: int) -> Flops:
    """A stack of layers that does not learn; `through` of its rows hand a gradient on."""
    return Flops(2.0 * rows * sum(layers), 2.0 * through * sum(layers))


def _mlp(n_in: int, units: int, layers: int, n_out: int = 0) -> list[int]:
    """Multiply-adds a row of each layer; the last one has n_out outputs, 0: there is none."""
    sizes = [n_in, *[units] * layers, *([n_out] if n_out else [])]
    return [a * b for a, b in itertools.pairwise(sizes)]


def _embedded(depth: int) -> int:
    """Numbers that the encoder makes of an image."""
    side, levels = ENCODER_SIDES[-1], len(ENCODER_SIDES)
    return side * side * (depth << (levels - 1))


def _convolutions(depth: int, channels: int) -> list[int]:
    """The image encoder: each output is a product over a patch of 4x4."""
    depths = [channels, *(depth << level for level in range(len(ENCODER_SIDES)))]
    return [
        side**2 * n_out * n_in * 4**2
        for side, n_in, n_out in zip(ENCODER_SIDES, depths, depths[1:], strict=False)
    ]


def _transposed_convolutions(depth: int, channels: int, feat: int) -> list[int]:
    """The image decoder: each input is spread over a patch."""
    depths = [feat, 4 * depth, 2 * depth, depth, channels]
    return [
        side**2 * n_in * n_out * kernel**2
        for (side, kernel), n_in, n_out in zip(DECODER, depths, depths[1:], strict=False)
    ]
