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

from daydreamer.models.casting import Linear
from daydreamer.models.distributions import mixed_probs, mode_onehot
from daydreamer.models.fused import NORM_EPS, draw, gates
from daydreamer.models.latent_linear import latent_linear, onehot_linear
from daydreamer.models.networks import MLP, NormAct, linear


class Latent(NamedTuple):
    """Belief about the world. Leading dims are (B,) in a step, (B, T) in a sequence."""

    h: Tensor  # (..., D) what the past implies
    z: Tensor  # (..., S * C) one-hot samples, flattened; gradients pass straight through
    drawn: Tensor  # (..., S) int64: where the ones of z are, in 0 .. S*C-1

    @property
    def feat(self) -> Tensor:
        """(..., D + S*C), the only thing that heads and behaviour may read."""
        return torch.cat([self.h, self.z], dim=-1)

    def flatten(self) -> Latent:
        """(B, T, ...) -> (B*T, ...)."""
        return Latent(*(x.flatten(0, 1) for x in self))

    def detach(self) -> Latent:
        """The same belief, cut from the graph."""
        return Latent(self.h.detach(), self.z.detach(), self.drawn)


class Initial(NamedTuple):
    """The belief before anything was seen: h (D,), z (S*C,), which may be all zero."""

    h: Tensor
    z: Tensor


class Categoricals:
    """S categorical variables of C classes, kept flat as (..., S*C) between layers."""

    def __init__(self, stoch: int, classes: int, unimix: float) -> None:
        self.stoch, self.classes, self.unimix = stoch, classes, unimix
        self.flat = stoch * classes

    def probs(self, logits: Tensor) -> Tensor:
        """(..., S*C) logits -> (..., S, C) probabilities with unimix, float32."""
        return mixed_probs(logits.unflatten(-1, (self.stoch, self.classes)), self.unimix)

    def draw(self, logits: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Straight-through sample of logits (..., S*C) by uniform (..., S).

        Returns z (..., S*C) and the index of its ones (..., S).
        """
        return draw(logits, uniform, self.unimix)

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
        self.gates_norm = nn.LayerNorm(3 * deter, eps=NORM_EPS)  # its weights; see fused.gates

    def forward(self, h: Tensor, z: Tensor, action_share: Tensor) -> Tensor:
        """H (B, D), z (B, S*C), action_share (B, U) = from_action(action). Returns the next h."""
        return self.advance(h, self.from_z(z), action_share)

    def advance(self, h: Tensor, z_share: Tensor, action_share: Tensor) -> Tensor:
        """forward() where z's share of the input layer, (B, U), is there already."""
        x = self.inputs_norm(z_share + action_share)
        parts = self.gates(torch.cat([x, h.to(x.dtype)], -1))
        return gates(parts, h, self.gates_norm.weight, self.gates_norm.bias)


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

    def initial(self) -> Initial:
        """The belief before anything was seen: h (D,), z (S*C,), the prior's mode."""
        h = torch.tanh(self.initial_h)
        if not self.learn_initial:
            return Initial(h, h.new_zeros(self.latents.flat))
        with torch.no_grad():
            z = self.latents.mode(self.latents.probs(self.prior(h)))
        return Initial(h, z.to(h.dtype))

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
        hs, zs, drawn, logits = [], [], [], []
        for action_t, embed_t, first_t, uniform_t in zip(
            action_share.unbind(1),
            embed_share.unbind(1),
            first.unbind(1),
            uniform.unbind(1),
            strict=True,
        ):
            h = torch.where(first_t, start.h, h)
            z = torch.where(first_t, start.z.to(z.dtype), z)
            h = self.cell(h, z, action_t)
            logits_t = self.posterior(h, embed_t)
            z, drawn_t = self.latents.draw(logits_t, uniform_t)
            hs.append(h)
            zs.append(z)
            drawn.append(drawn_t)
            logits.append(logits_t)
        post = Latent(torch.stack(hs, 1), torch.stack(zs, 1), torch.stack(drawn, 1))
        post_probs = self.latents.probs(torch.stack(logits, 1))
        return post, post_probs, self.latents.probs(self.prior(post.h))

    def imagine_step(self, prev: Latent, action: Tensor, uniform: Tensor) -> Latent:
        """One step without looking. prev (B, ...), action (B, A), uniform (B, S)."""
        z_share = onehot_linear(prev.z, prev.drawn, self.cell.from_z.weight)
        h = self.cell.advance(prev.h, z_share, self.cell.from_action(action))
        return Latent(h, *self.latents.draw(self.prior(h), uniform))


class LatentMLP(MLP):
    """An MLP over beliefs: MLP(latent.feat) without computing with feat's zeros.

    What such a head says (a value, a mean, a prediction) is float32 whatever it computes in.
    """

    def __init__(
        self, n_in: int, units: int, layers: int, n_out: int | None = None, out_scale: float = 0.1
    ) -> None:
        super().__init__(n_in, units, layers, n_out, out_scale, exact=True)

    def forward(self, latent: Latent | Tensor) -> Tensor:
        """Beliefs, or their features (..., F) -> (..., units or n_out)."""
        if isinstance(latent, Tensor):
            return super().forward(latent)
        lead = latent.h.shape[:-1]
        first = self.blocks[0]
        assert isinstance(first, Linear)
        h, z, drawn = (x.flatten(0, -2) for x in latent)
        out: Tensor = self.blocks[1:](latent_linear(h, z, drawn, first.weight))
        return out.view(*lead, -1)
