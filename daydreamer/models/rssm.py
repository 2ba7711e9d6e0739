"""The recurrent state-space model of DreamerV2 as DayDreamer uses it: one step in one method.

B batch, T time, A action, E embedding, D deterministic, S variables of C classes, U units.

    # row      t-1            t
    # z        z_t-1 --.      z_t   drawn from post(h_t, e_t), or from prior(h_t) in imagination
    # action           a_t    ^     a_t was executed after row t-1 and led to row t ("arriving")
    # h        h_t-1 --+--> h_t     h_t = GRU([z_t-1, a_t], h_t-1)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from daydreamer.models.distributions import (
    mixed_probs,
    mode_onehot,
    sample_onehot,
    straight_through,
)
from daydreamer.models.networks import MLP, NORM_EPS, NormAct, linear


class Latent(NamedTuple):
    """Belief about the world. Leading dims are (B,) in a step, (B, T) in a sequence."""

    h: Tensor  # (..., D) what the past implies
    z: Tensor  # (..., S * C) one-hot samples, flattened; gradients pass straight through

    @property
    def feat(self) -> Tensor:
        """(..., D + S*C), the only thing that heads and behaviour may read."""
        return torch.cat([self.h, self.z], dim=-1)

    def detach(self) -> Latent:
        """The same belief, cut from the graph."""
        return Latent(self.h.detach(), self.z.detach())


class Categoricals:
    """S categorical variables of C classes, kept flat as (..., S*C) between layers."""

    def __init__(self, stoch: int, classes: int, unimix: float) -> None:
        self.stoch, self.classes, self.unimix = stoch, classes, unimix
        self.flat = stoch * classes

    def probs(self, logits: Tensor) -> Tensor:
        """(..., S*C) logits -> (..., S, C) probabilities with unimix, float32."""
        return mixed_probs(logits.unflatten(-1, (self.stoch, self.classes)), self.unimix)

    def draw(self, probs: Tensor, uniform: Tensor) -> Tensor:
        """Straight-through sample. probs (..., S, C), uniform (..., S) -> (..., S*C)."""
        return straight_through(sample_onehot(probs, uniform), probs).flatten(-2)

    def mode(self, probs: Tensor) -> Tensor:
        """The likeliest classes, without gradient. (..., S, C) -> (..., S*C)."""
        return mode_onehot(probs).flatten(-2)


class Cell(nn.Module):
    """h_t from (z_t-1, a_t, h_t-1): input layer, then a GRU with one normalised linear map.

    Not nn.GRUCell: the reset gate multiplies the candidate, the update bias is -1 so that the cell
    remembers by default, and the update gate weighs the new candidate (DreamerV2).
    """

    def __init__(self, stoch_flat: int, action_size: int, deter: int, units: int) -> None:
        super().__init__()
        # One layer over [z, a], kept as two matrices: the action's share leaves the time loop, and
        # slicing a joint matrix would fill a whole gradient with zeros at every step.
        fans = (stoch_flat + action_size, units)
        self.from_z = linear(stoch_flat, units, bias=False, fans=fans)
        self.from_action = linear(action_size, units, bias=False, fans=fans)
        self.inputs_norm = NormAct(units)
        self.gates = linear(units + deter, 3 * deter, bias=False)
        self.gates_norm = nn.LayerNorm(3 * deter, eps=NORM_EPS)

    def forward(self, h: Tensor, z: Tensor, action_share: Tensor) -> Tensor:
        """H (B, D), z (B, S*C), action_share (B, U) = from_action(action). Returns the next h."""
        x = self.inputs_norm(self.from_z(z) + action_share)
        parts = self.gates_norm(self.gates(torch.cat([x, h.to(x.dtype)], -1)))
        reset, candidate, update = parts.chunk(3, dim=-1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        return h + torch.sigmoid(update - 1) * (candidate - h)


class Posterior(nn.Module):
    """Logits of q(z_t | h_t, e_t)."""

    def __init__(self, deter: int, embed: int, units: int, layers: int, stoch_flat: int) -> None:
        super().__init__()
        fans = (deter + embed, units)
        self.from_h = linear(deter, units, bias=False, fans=fans)
        self.from_embed = linear(embed, units, bias=False, fans=fans)
        self.inputs_norm = NormAct(units)
        self.rest = MLP(units, units, layers - 1, stoch_flat, out_scale=1.0)

    def forward(self, h: Tensor, embed_share: Tensor) -> Tensor:
        """H (B, D), embed_share (B, U) = from_embed(embed). Returns (B, S*C) logits."""
        logits: Tensor = self.rest(self.inputs_norm(self.from_h(h) + embed_share))
        return logits


class RSSM(nn.Module):
    """Recurrent state-space model with categorical latents."""

    def __init__(
        self,
        *,
        action_size: int,
        embed_size: int,
        deter: int,
        units: int,
        stoch: int,
        classes: int,
        prior_layers: int,
        post_layers: int,
        unimix: float,
        initial: str,
    ) -> None:
        super().__init__()
        self.deter = deter
        self.latents = Categoricals(stoch, classes, unimix)
        flat = self.latents.flat
        self.cell = Cell(flat, action_size, deter, units)
        self.posterior = Posterior(deter, embed_size, units, post_layers, flat)
        self.prior = MLP(deter, units, prior_layers, flat, out_scale=1.0)
        self.initial_h = nn.Parameter(torch.zeros(deter), requires_grad=initial == "learned")
        self.learn_initial = initial == "learned"
        self.feat_size = deter + flat

    def initial(self) -> Latent:
        """The belief before anything was seen: h (D,), z (S*C,), the prior's mode."""
        h = torch.tanh(self.initial_h)
        if not self.learn_initial:
            return Latent(h, h.new_zeros(self.latents.flat))
        with torch.no_grad():
            z = self.latents.mode(self.latents.probs(self.prior(h)))
        return Latent(h, z.to(h.dtype))

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, uniform: Tensor
    ) -> tuple[Latent, Tensor, Tensor]:
        """Filter a sequence.

        embed (B, T, E), action (B, T, A), is_first (B, T) bool, uniform (B, T, S).

        Returns (post, post_probs, prior_probs): Latent of (B, T, ...), two (B, T, S, C).
        Only what is recurrent stays inside the loop over T. No argument is changed.
        """
        first = is_first.unsqueeze(-1)
        start = self.initial()
        h = start.h.expand(embed.shape[0], -1)
        z = start.z.expand(embed.shape[0], -1)
        # Mask, do not branch: the action of a first row belongs to no transition of this episode.
        action_share = self.cell.from_action(action.masked_fill(first, 0.0))
        embed_share = self.posterior.from_embed(embed)
        hs, zs, probs = [], [], []
        for action_t, embed_t, first_t, uniform_t in zip(
            action_share.unbind(1),
            embed_share.unbind(1),
            first.unbind(1),
            uniform.unbind(1),
            strict=True,
        ):
            h = torch.where(first_t, start.h, h)
            z = torch.where(first_t, start.z, z)
            h = self.cell(h, z, action_t)
            probs_t = self.latents.probs(self.posterior(h, embed_t))
            z = self.latents.draw(probs_t, uniform_t)
            hs.append(h)
            zs.append(z)
            probs.append(probs_t)
        post = Latent(torch.stack(hs, 1), torch.stack(zs, 1))
        return post, torch.stack(probs, 1), self.latents.probs(self.prior(post.h))

    def imagine_step(self, prev: Latent, action: Tensor, uniform: Tensor) -> Latent:
        """One step without looking. prev (B, ...), action (B, A), uniform (B, S)."""
        h = self.cell(prev.h, prev.z, self.cell.from_action(action))
        return Latent(h, self.latents.draw(self.latents.probs(self.prior(h)), uniform))
