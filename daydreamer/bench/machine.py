"""What this machine can do at most."""

from __future__ import annotations

import statistics

import torch

from daydreamer.bench.guard import Guard, Say

# Squares, and the shape in which imagined states pass a layer: libraries are fastest at different
# ones, and the machine's rate is that of the fastest.
CPU_SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 4096, 4096), (16384, 1280, 512))
GPU_SHAPES = ((8192, 8192, 8192), (16384, 1280, 512))


def matmul_rates(device: torch.device, dtype: torch.dtype, rounds: int, say: Say) -> list[float]:
    """Operations a second of the fastest matrix product, one entry a clean round; [] without."""
    best: list[float] = []
    for m, k, n in GPU_SHAPES if device.type == "cuda" else CPU_SHAPES:
        a = torch.randn(m, k, device=device).to(dtype)
        b = torch.randn(k, n, device=device).to(dtype)
        out = torch.empty(m, n, device=device, dtype=dtype)

        def multiply(a: torch.Tensor = a, b: torch.Tensor = b, out: torch.Tensor = out) -> None:
            torch.mm(a, b, out=out)
            synchronize(device)

        multiply()  # the first one chooses an algorithm
        found = Guard(multiply, _silent).rounds("", rounds)
        rates = [2 * m * k * n / seconds for seconds in found.clean]
        best_here = f"{max(rates) / 1e9:.0f} GFLOP/s" if rates else "disturbed in every round"
        say(f"{m}x{k} by {k}x{n} in {dtype}: {best_here}")
        if found.is_enough and (not best or statistics.median(rates) > statistics.median(best)):
            best = rates
    return best


def _silent(text: str) -> None:
    """Shapes are many and their rounds short: one line a shape will do."""


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
