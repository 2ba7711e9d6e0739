"""The recurrent state-space model of DreamerV2 as DayDreamer uses it: one step in one method.

B batch, T time, A action, E embedding, D deterministic, U units. S variables make F numbers of z:
S * C one-hot ones of C classes each, or S of a Gaussian (latents.py, which says what stats are).

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
from daydreamer.models.fused import gates, open_gates
from daydreamer.models.latent_linear import latent_linear, stoch_linear
from daydreamer.models.latents import Latents
from daydreamer.models.networks import MLP, Act, NormAct, linear


class Latent(NamedTuple):
    """Belief about the world. Leading dims are (B,) in a step, (B, T) in a sequence."""

    h: Tensor  # (..., D) what the past implies
    z: Tensor  # (..., F) samples; gradients pass through, straight through one-hot ones
    drawn: Tensor  # int64: (..., S) where the ones of z are, in 0 .. F-1; (..., 0) if z is dense

    @property
    def feat(self) -> Tensor:
        """(..., D + F), the only thing that heads and behaviour may read."""
        return torch.cat([self.h, self.z], dim=-1)

    def flatten(self) -> Latent:
        """(B, T, ...) -> (B*T, ...)."""
        return Latent(*(x.flatten(0, 1) for x in self))

    def detach(self) -> Latent:
        """The same belief, cut from the graph."""
        return Latent(self.h.detach(), self.z.detach(), self.drawn)


class Initial(NamedTuple):
    """The belief before anything was seen: h (D,), z (F,), which may be all zero."""

    h: Tensor
    z: Tensor


class NormGates(nn.Module):
    """A GRU's gates, normalised together, and the state that they make."""

    def __init__(self, deter: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3 * deter))
        self.bias = nn.Parameter(torch.zeros(3 * deter))

    def forward(self, parts: Tensor, h: Tensor) -> Tensor:
        """Parts (B, 3 D): reset, candidate, update; h (B, D). Returns the next h, float32."""
        return gates(parts, h, self.weight, self.bias)


class BiasGates(nn.Module):
    """In NormGates' place where there is no norm: the bias, then the gates."""

    def __init__(self, deter: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3 * deter))

    def forward(self, parts: Tensor, h: Tensor) -> Tensor:
        """As NormGates."""
        return open_gates(parts + self.bias, h)


class Cell(nn.Module):
    """h_t from (z_t-1, a_t, h_t-1): input layer, then a GRU with one normalised linear map.

    Not nn.GRUCell: the reset gate multiplies the candidate, the update bias is -1 so that the cell
    remembers by default, and the update gate weighs the new candidate (DreamerV2).
    """

    def __init__(
        self,
        stoch_flat: int,
        action_size: int,
        deter: int,
        units: int,
        *,
        act: Act = NormAct,
        gru_norm: bool = True,
    ) -> None:
        super().__init__()
        # One layer over [z, a], kept as two matrices: the action's share leaves the time loop, and
        # slicing a joint matrix would fill a whole gradient with zeros at every step.
        fans = (stoch_flat + action_size, units)
        self.from_z = linear(stoch_flat, units, bias=False, fans=fans)
        self.from_action = linear(action_size, units, bias=False, fans=fans)
        self.inputs_norm = act(units)
        self.gates = linear(units + deter, 3 * deter, bias=False)
        self.gates_norm = NormGates(deter) if gru_norm else BiasGates(deter)

    def forward(self, h: Tensor, z: Tensor, action_share: Tensor) -> Tensor:
        """H (B, D), z (B, F), action_share (B, U) = from_action(action). Returns the next h."""
        return self.advance(h, self.from_z(z), action_share)

    def advance(self, h: Tensor, z_share: Tensor, action_share: Tensor) -> Tensor:
        """forward() where z's share of the input layer, (B, U), is there already."""
        x = self.inputs_norm(z_share + action_share)
        after: Tensor = self.gates_norm(self.gates(torch.cat([x, h.to(x.dtype)], -1)), h)
        return after


class Posterior(nn.Module):
    """What says the stats of q(z_t | h_t, e_t)."""

    def __init__(
        self, deter: int, embed: int, units: int, layers: int, n_out: int, *, act: Act = NormAct
    ) -> None:
        super().__init__()
        fans = (deter + embed, units)
        self.from_h = linear(deter, units, bias=False, fans=fans)
        self.from_embed = linear(embed, units, bias=False, fans=fans)
        self.inputs_norm = act(units)
        self.rest = MLP(units, units, layers - 1, n_out, out_scale=1.0, act=act)

    def forward(self, h: Tensor, embed_share: Tensor) -> Tensor:
        """H (B, D), embed_share (B, U) = from_embed(embed). Returns (B, n_out)."""
        out: Tensor = self.rest(self.inputs_norm(self.from_h(h) + embed_share))
        return out


class RSSM(nn.Module):
    """Recurrent state-space model."""

    def __init__(
        self,
        *,
        action_size: int,
        embed_size: int,
        deter: int,
        units: int,
        latents: Latents,
        prior_layers: int,
        post_layers: int,
        initial: str,
        act: Act = NormAct,
        gru_norm: bool = True,
    ) -> None:
        super().__init__()
        self.deter = deter
        self.latents = latents
        self.cell = Cell(latents.flat, action_size, deter, units, act=act, gru_norm=gru_norm)
        self.posterior = Posterior(deter, embed_size, units, post_layers, latents.outputs, act=act)
        self.prior = MLP(deter, units, prior_layers, latents.outputs, out_scale=1.0, act=act)
        self.initial_h = nn.Parameter(torch.zeros(deter), requires_grad=initial == "learned")
        self.learn_initial = initial == "learned"
        self.feat_size = deter + latents.flat

    def initial(self) -> Initial:
        """The belief before anything was seen: h (D,), z (F,), the prior's mode."""
        h = torch.tanh(self.initial_h)
        if not self.learn_initial:
            return Initial(h, h.new_zeros(self.latents.flat))
        with torch.no_grad():
            z = self.latents.mode(self.latents.stats(self.prior(h)))
        return Initial(h, z.to(h.dtype))

    def observe(
        self, embed: Tensor, action: Tensor, is_first: Tensor, noise: Tensor
    ) -> tuple[Latent, Tensor, Tensor]:
        """Filter a sequence.

        embed (B, T, E), action (B, T, A), is_first (B, T) bool, noise (B, T, S): latents.noise.

        Returns (post, post_stats, prior_stats), all of (B, T, ...).
        Only what is recurrent stays inside the loop over T. No argument is changed.
        """
        first = is_first.unsqueeze(-1)
        start = self.initial()
        h = start.h.expand(embed.shape[0], -1)
        z = start.z.expand(embed.shape[0], -1)
        # Mask, do not branch: the action of a first row belongs to no transition of this episode.
        action_share = self.cell.from_action(action.masked_fill(first, 0.0))
        embed_share = self.posterior.from_embed(embed)
        hs, zs, drawn, outs = [], [], [], []
        for action_t, embed_t, first_t, noise_t in zip(
            action_share.unbind(1),
            embed_share.unbind(1),
            first.unbind(1),
            noise.unbind(1),
            strict=True,
        ):
            h = torch.where(first_t, start.h, h)
            z = torch.where(first_t, start.z.to(z.dtype), z)
            h = self.cell(h, z, action_t)
            out_t = self.posterior(h, embed_t)
            z, drawn_t = self.latents.draw(out_t, noise_t)
            hs.append(h)
            zs.append(z)
            drawn.append(drawn_t)
            outs.append(out_t)
        post = Latent(torch.stack(hs, 1), torch.stack(zs, 1), torch.stack(drawn, 1))
        post_stats = self.latents.stats(torch.stack(outs, 1))
        return post, post_stats, self.latents.stats(self.prior(post.h))

    def imagine_step(self, prev: Latent, action: Tensor, noise: Tensor) -> Latent:
        """One step without looking. prev (B, ...), action (B, A), noise (B, S)."""
        z_share = stoch_linear(prev.z, prev.drawn, self.cell.from_z.weight)
        h = self.cell.advance(prev.h, z_share, self.cell.from_action(action))
        return Latent(h, *self.latents.draw(self.prior(h), noise))


class LatentMLP(MLP):
    """An MLP over beliefs: MLP(latent.feat) without computing with feat's zeros.

    What such a head says (a value, a mean, a prediction) is float32 whatever it computes in.
    """

    def __init__(
        self,
        n_in: int,
        units: int,
        layers: int,
        n_out: int | None = None,
        out_scale: float = 0.1,
        act: Act = NormAct,
    ) -> None:
        super().__init__(n_in, units, layers, n_out, out_scale, exact=True, act=act)

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
