"""The processes that share one update. W of them compute what one would with the joint batch.

    # joint batch (B, T, ...)   rank r of W trains on the rows r B/W to (r+1) B/W
    # random numbers            every rank draws all rows' from the same generator, keeps its own
    # losses                    means over rows: the mean of the ranks' gradients is the joint one
    # adaptive scales, moments  follow means over all ranks, so they stay equal on each

Alone, W = 1 and every method gives back what it was given.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


class Ranks:
    """This process's place among those of torch's default process group."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def noise(self, draw: Callable[..., Tensor], *shape: int, generator: torch.Generator) -> Tensor:
        """Own rows of the joint random numbers; draw: torch.rand or torch.randn.

        shape[0] counts own rows.
        """
        rows, *rest = shape
        joint = draw((rows * self.size, *rest), generator=generator, device=generator.device)
        return self.share(joint)

    def share(self, joint: Tensor) -> Tensor:
        """Own rows of (B, ...): a view."""
        return joint if self.size == 1 else joint.chunk(self.size)[self.rank]

    @torch.no_grad()
    def gather(self, own: Tensor) -> Tensor:
        """The joint (B, ...) of own rows, without gradient."""
        if self.size == 1:
            return own
        shares = [torch.empty_like(own) for _ in range(self.size)]
        distributed.all_gather(shares, own.contiguous())
        return torch.cat(shares)

    @torch.no_grad()
    def mean(self, own: Tensor) -> Tensor:
        """Over all ranks, without gradient; any shape."""
        if self.size == 1:
            return own
        joint = own.detach().clone()
        distributed.all_reduce(joint)
        return joint / self.size

    def means(self, own: dict[str, Tensor]) -> dict[str, Tensor]:
        """Each scalar's mean over all ranks, in one message."""
        if self.size == 1:
            return own
        return dict(zip(own, self.mean(torch.stack(list(own.values()))).unbind(), strict=True))

    def average_gradients_of(self, module: nn.Module) -> nn.Module:
        """Call the result in module's place: backward() then leaves joint gradients in p.grad."""
        if self.size == 1:
            return module
        return DistributedDataParallel(module)


ALONE = Ranks()
