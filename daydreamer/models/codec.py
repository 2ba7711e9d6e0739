"""Observations to one embedding and back: vectors by an MLP, images by convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from daydreamer.models.distributions import symlog
from daydreamer.models.latent_linear import latent_linear
from daydreamer.models.networks import MLP, Act, NormAct, linear, uniform_init_
from daydreamer.models.observations import KERNEL, LEVELS, STRIDE, split_keys, vector_size
from daydreamer.models.rssm import Latent, LatentMLP
from robots.base import ArraySpec

FIRST = 5  # pixels a side after the decoder's first layer


class ChannelAct(nn.Module):
    """What follows a convolution: layer norm over the channels of (N, C, H, W), then ELU.

    Channels lie together in memory from pixels to embedding and back: a norm reads what is
    contiguous, and convolutions are fastest so.
    """

    def __init__(self, channels: int, act: Act) -> None:
        super().__init__()
        self.norm = act(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        out: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return out


class Encoder(nn.Module):
    """(N, ...) observations -> (N, embed_size)."""

    def __init__(
        self,
        observations: Mapping[str, ArraySpec],
        *,
        mlp_layers: int,
        mlp_units: int,
        cnn_depth: int,
        symlog_vectors: bool,
        act: Act = NormAct,
    ) -> None:
        super().__init__()
        self.symlog_vectors = symlog_vectors
        self.vectors, self.images = split_keys(observations)
        self.embed_size = 0
        if self.vectors:
            n_in = sum(vector_size(observations[key]) for key in self.vectors)
            self.mlp = MLP(n_in, mlp_units, mlp_layers, act=act)
            self.embed_size += mlp_units
        if self.images:
            channels = sum(observations[key].shape[2] for key in self.images)
            layers: list[nn.Module] = []
            for level in range(LEVELS):
                depth = cnn_depth * 2**level
                conv = nn.Conv2d(channels, depth, KERNEL, STRIDE, bias=False)
                after = ChannelAct(depth, act)
                # DayDreamer counts channels only as fans, which a norm that follows makes harmless;
                # without one the embedding would start a hundred times as large.
                inputs = 1 if isinstance(after.norm, NormAct) else KERNEL**2
                uniform_init_(conv.weight, inputs * channels, inputs * depth)
                layers += [conv, after]
                channels = depth
            self.cnn = nn.Sequential(*layers, nn.Flatten())
            self.embed_size += 2 * 2 * channels

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        """Vectors (N, ...) of any type, images (N, 64, 64, C) uint8. Returns (N, embed_size)."""
        parts = []
        if self.vectors:
            # Not flatten(1): a single number has no second dimension.
            flat = [obs[key].reshape(len(obs[key]), -1).float() for key in self.vectors]
            numbers = torch.cat(flat, -1)
            parts.append(self.mlp(symlog(numbers) if self.symlog_vectors else numbers))
        if self.images:
            pixels = torch.cat([obs[key] for key in self.images], -1).movedim(-1, 1)
            parts.append(self.cnn(pixels.float() / 255))
        return torch.cat(parts, -1)


class Decoder(nn.Module):
    """(N, feat_size) -> every observation: vectors as they are, images in [0, 1]."""

    def __init__(
        self,
        observations: Mapping[str, ArraySpec],
        *,
        feat_size: int,
        mlp_layers: int,
        mlp_units: int,
        cnn_depth: int,
        act: Act = NormAct,
    ) -> None:
        super().__init__()
        self.vectors, self.images = split_keys(observations)
        self.shapes = {key: observations[key].shape for key in observations}
        if self.vectors:
            self.mlp = LatentMLP(feat_size, mlp_units, mlp_layers, act=act)
            sizes = {key: vector_size(observations[key]) for key in self.vectors}
            self.outs = nn.ModuleDict(
                {key: linear(mlp_units, n, scale=0.1, exact=True) for key, n in sizes.items()}
            )
        if self.images:
            depths = [cnn_depth * 2**level for level in (2, 1, 0)]
            # A transposed convolution of one pixel, which is a linear layer: 1 -> 5 pixels.
            size = depths[0] * FIRST**2
            self.first = linear(feat_size, size, bias=False, fans=(feat_size * FIRST**2, size))
            layers: list[nn.Module] = [ChannelAct(depths[0], act)]
            for n_in, n_out, kernel in zip(depths, depths[1:], (5, 6), strict=False):
                conv = nn.ConvTranspose2d(n_in, n_out, kernel, STRIDE, bias=False)
                uniform_init_(conv.weight, n_in * kernel**2, n_out * kernel**2)
                layers += [conv, ChannelAct(n_out, act)]
            channels = sum(observations[key].shape[2] for key in self.images)
            last = nn.ConvTranspose2d(depths[-1], channels, 6, STRIDE)  # 5 -> 13 -> 30 -> 64
            uniform_init_(last.weight, depths[-1] * 36, channels * 36, 0.1)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
            self.cnn = nn.Sequential(*layers, last)

    def forward(self, latent: Latent) -> dict[str, Tensor]:
        """Beliefs (N, F). Returns {key: (N, *shape)}; images as (N, 64, 64, C) in [0, 1]."""
        out = {}
        if self.vectors:
            hidden = self.mlp(latent)
            out = {
                key: self.outs[key](hidden).unflatten(1, self.shapes[key] or (1,))
                for key in self.vectors
            }
            out = {key: x if self.shapes[key] else x.squeeze(1) for key, x in out.items()}
        if self.images:
            first = latent_linear(*latent, self.first.weight)
            grid = first.view(len(first), FIRST, FIRST, -1).movedim(-1, 1)
            pixels = torch.sigmoid(self.cnn(grid)).movedim(1, -1)
            sizes = [self.shapes[key][2] for key in self.images]
            out.update(zip(self.images, pixels.split(sizes, -1), strict=True))
        return out
