"""Beliefs in chunks: the same numbers and gradients as all at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from daydreamer.models import chunks
from daydreamer.models.casting import computing_in
from daydreamer.models.rssm import Latent, LatentMLP

N, D, S, C = 10, 6, 3, 4


@pytest.fixture(autouse=True)
def _three_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 4)  # of ten rows: 4, 4 and 2


def beliefs() -> Latent:
    g = torch.Generator().manual_seed(0)
    drawn = torch.randint(0, C, (N, S), generator=g)
    z = torch.nn.functional.one_hot(drawn, C).float().flatten(1).requires_grad_()
    h = torch.randn(N, D, generator=g).requires_grad_()
    return Latent(h, z, drawn + torch.arange(0, S * C, C))


def head() -> LatentMLP:
    torch.manual_seed(0)
    return LatentMLP(D + S * C, 8, 2, 1, out_scale=1.0)


def same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_frozen_head_reads_and_passes_gradients_as_a_layer_does() -> None:
    latent, frozen = beliefs(), head().requires_grad_(False)
    upstream = torch.linspace(-1, 1, N)
    found, expected = chunks.read_frozen(frozen, latent), frozen(latent.feat).squeeze(-1)
    torch.testing.assert_close(found, expected)
    inputs = (latent.h, latent.z)
    same(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(expected, inputs, upstream),
    )


def test_a_frozen_head_over_beliefs_without_gradient_keeps_no_graph() -> None:
    found = chunks.read_frozen(head().requires_grad_(False), beliefs().detach())
    assert not found.requires_grad
    assert found.shape == (N,)


def test_in_bfloat16_an_exact_layer_keeps_its_exact_gradient() -> None:
    latent, trained = beliefs().detach(), head()
    last = [layer for layer in trained.modules() if getattr(layer, "exact", False)][-1]
    inputs: list[Tensor] = []
    last.register_forward_hook(lambda layer, args, out: inputs.append(args[0].detach().float()))
    with computing_in(torch.bfloat16, torch.device("cpu")):
        loss = chunks.mean_in_chunks(
            N,
            torch.zeros(()),
            lambda rows: trained(Latent(*(x[rows] for x in latent))).sum(),
            trained,
        )
    (found,) = torch.autograd.grad(loss, [last.weight])
    torch.testing.assert_close(found, torch.cat(inputs).sum(0, keepdim=True) / N)


def test_a_mean_over_chunks_has_the_gradient_of_the_mean() -> None:
    latent, trained = beliefs().detach(), head()
    target = torch.linspace(0, 1, N)

    def part(rows: slice) -> Tensor:
        found = trained(Latent(*(x[rows] for x in latent))).squeeze(-1)
        return (found - target[rows]).square().sum()

    found = chunks.mean_in_chunks(N, target, part, trained)
    expected = (trained(latent.feat).squeeze(-1) - target).square().mean()
    torch.testing.assert_close(found, expected)
    params = tuple(trained.parameters())
    same(torch.autograd.grad(3 * found, params), torch.autograd.grad(3 * expected, params))
