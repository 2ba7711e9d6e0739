"""Observations to one embedding and back: vectors by an MLP, images by convolutions."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from daydreamer.models.distributions import symlog
from daydreamer.models.networks import MLP, NORM_EPS, linear, uniform_init_
from robots.base import ArraySpec

IMAGE_SIZE = 64  # the convolutions below fit 64x64 exactly: 64 -> 31 -> 14 -> 6 -> 2
KERNEL, STRIDE, LEVELS = 4, 2, 4


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        out: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return out


def split_keys(observations: Mapping[str, ArraySpec]) -> tuple[list[str], list[str]]:
    """Names of vector and of image keys, each sorted. Raises ValueError on another image size."""
    images = sorted(key for key, spec in observations.items() if spec.is_image)
    for key in images:
        if observations[key].shape[:2] != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"observation {key} is {observations[key].shape}, images must be "
                f"({IMAGE_SIZE}, {IMAGE_SIZE}, C): resize them in the task"
            )
    return sorted(set(observations) - set(images)), images


def vector_size(spec: ArraySpec) -> int:
    """Numbers in one vector observation."""
    size = 1
    for length in spec.shape:
        size *= length
    return size


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
    ) -> None:
        super().__init__()
        self.symlog_vectors = symlog_vectors
        self.vectors, self.images = split_keys(observations)
        self.embed_size = 0
        if self.vectors:
            n_in = sum(vector_size(observations[key]) for key in self.vectors)
            self.mlp = MLP(n_in, mlp_units, mlp_layers)
            self.embed_size += mlp_units
        if self.images:
            channels = sum(observations[key].shape[2] for key in self.images)
            layers: list[nn.Module] = []
            for level in range(LEVELS):
                depth = cnn_depth * 2**level
                conv = nn.Conv2d(channels, depth, KERNEL, STRIDE, bias=False)
                # DayDreamer counts channels only as fans; the norm that follows makes it harmless.
                uniform_init_(conv.weight, channels, depth)
                layers += [conv, ChannelNorm(depth), nn.ELU()]
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
    ) -> None:
        super().__init__()
        self.vectors, self.images = split_keys(observations)
        self.shapes = {key: observations[key].shape for key in observations}
        if self.vectors:
            self.mlp = MLP(feat_size, mlp_units, mlp_layers)
            sizes = {key: vector_size(observations[key]) for key in self.vectors}
            self.outs = nn.ModuleDict(
                {key: linear(mlp_units, n, scale=0.1) for key, n in sizes.items()}
            )
        if self.images:
            depths = [feat_size, *(cnn_depth * 2**level for level in (2, 1, 0))]
            layers: list[nn.Module] = []
            for n_in, n_out, kernel in zip(depths, depths[1:], (5, 5, 6), strict=False):
                conv = nn.ConvTranspose2d(n_in, n_out, kernel, STRIDE, bias=False)
                uniform_init_(conv.weight, n_in * kernel**2, n_out * kernel**2)
                layers += [conv, ChannelNorm(n_out), nn.ELU()]
            channels = sum(observations[key].shape[2] for key in self.images)
            last = nn.ConvTranspose2d(depths[-1], channels, 6, STRIDE)  # 1 -> 5 -> 13 -> 30 -> 64
            uniform_init_(last.weight, depths[-1] * 36, channels * 36, 0.1)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
            self.cnn = nn.Sequential(*layers, last)

    def forward(self, feat: Tensor) -> dict[str, Tensor]:
        """Feat (N, F). Returns {key: (N, *shape)}; images as (N, 64, 64, C) in [0, 1]."""
        out = {}
        if self.vectors:
            hidden = self.mlp(feat)
            out = {
                key: self.outs[key](hidden).unflatten(1, self.shapes[key] or (1,))
                for key in self.vectors
            }
            out = {key: x if self.shapes[key] else x.squeeze(1) for key, x in out.items()}
        if self.images:
            pixels = torch.sigmoid(self.cnn(feat[:, :, None, None])).movedim(1, -1)
            sizes = [self.shapes[key][2] for key in self.images]
            out.update(zip(self.images, pixels.split(sizes, -1), strict=True))
        return out
