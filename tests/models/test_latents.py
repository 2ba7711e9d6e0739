"""Both kinds of z: stats, samples, KL, entropy, and what a linear layer makes of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from daydreamer.models.casting import computing_in
from daydreamer.models.latent_linear import latent_linear, stoch_linear
from daydreamer.models.latents import Categoricals, Gaussians
from daydreamer.models.rssm import RSSM

TWO = Gaussians(2)
# Two variables: means 1 and -2, deviations that 0 and 2 say.
OUTPUTS = torch.tensor([[1.0, -2.0, 0.0, 2.0]])


def pair(*means_and_stds: float) -> torch.Tensor:
    """Stats (1, 2, 2) of two variables: both means, then both deviations."""
    return torch.tensor(means_and_stds).view(1, 2, 2)


def test_gaussian_means_are_free_and_deviations_squashed() -> None:
    # 2 sigmoid(0) + 0.1 = 1.1, 2 sigmoid(1) + 0.1 = 2 * 0.731059 + 0.1 = 1.562117
    torch.testing.assert_close(TWO.stats(OUTPUTS), pair(1.0, -2.0, 1.1, 1.562117))
    extremes = TWO.stats(torch.tensor([[1e4, -1e4, -1e3, 1e3]]))
    torch.testing.assert_close(extremes, pair(1e4, -1e4, 0.1, 2.1))


def test_gaussian_samples_are_mean_plus_deviation_times_noise_with_gradient_to_both() -> None:
    outputs = OUTPUTS.clone().requires_grad_()
    z, index = TWO.draw(outputs, torch.tensor([[1.0, -3.0]]))
    torch.testing.assert_close(z, torch.tensor([[2.1, -2.0 - 3 * 1.562117]]))
    assert index.shape == (1, 0)
    z.sum().backward()
    # d std / d raw = 2 * 0.5 s (1 - s): 0.25 at 0, 0.731059 * 0.268941 = 0.196612 at 2; times noise
    expected = torch.tensor([[1.0, 1.0, 0.25, -3 * 0.196612]])
    torch.testing.assert_close(outputs.grad, expected)


def test_gaussian_kl_and_entropy_match_arithmetic() -> None:
    # N(0, 1) || N(1, 2): ln 2 + (1 + 1) / (2 * 4) - 0.5      = 0.443147
    # N(1, 0.5) || N(0, 1): ln 2 + (0.25 + 1) / 2 - 0.5       = 0.818147, together 1.261294
    p, q = pair(0.0, 1.0, 1.0, 0.5), pair(1.0, 0.0, 2.0, 1.0)
    torch.testing.assert_close(TWO.kl(p, q), torch.tensor([1.261294]))
    assert TWO.kl(p, p).item() == 0.0
    # 0.5 ln(2 pi e) = 1.418939, and ln 0.5 less: 1.418939 + 0.725791
    torch.testing.assert_close(TWO.entropy(p), torch.tensor([2.144730]))
    assert torch.equal(TWO.mode(p), torch.tensor([[0.0, 1.0]]))


def test_noise_is_what_each_kind_is_drawn_by() -> None:
    uniform, normal = Categoricals.noise(10_000), Gaussians.noise(10_000)
    assert 0 <= uniform.min() <= uniform.max() < 1
    assert normal.min() < -1


def test_layers_over_dense_latents_are_plain_products() -> None:
    torch.manual_seed(0)
    h, z, weight = (torch.randn(*size).requires_grad_() for size in ((5, 3), (5, 4), (6, 7)))
    none = torch.empty(5, 0, dtype=torch.int64)
    for found, expected in (
        (latent_linear(h, z, none, weight), F.linear(torch.cat([h, z], -1), weight)),
        (stoch_linear(z, none, weight[:, 3:]), F.linear(z, weight[:, 3:])),
    ):
        assert torch.equal(found, expected)
        inputs = (z, weight)
        grads = (torch.autograd.grad(x.square().sum(), inputs) for x in (found, expected))
        for a, b in zip(*grads, strict=True):
            assert torch.equal(a, b)


def make(initial: str) -> RSSM:
    torch.manual_seed(0)
    return RSSM(
        action_size=1, embed_size=2, deter=3, units=4, latents=Gaussians(5), prior_layers=1,
        post_layers=1, initial=initial,
    )  # fmt: skip


def test_a_gaussian_belief_starts_at_the_prior_s_mean_or_at_zero() -> None:
    rssm = make("learned")
    torch.nn.init.normal_(rssm.initial_h)
    start = rssm.initial()
    assert torch.equal(start.z, rssm.prior(torch.tanh(rssm.initial_h))[:5])
    assert not start.z.requires_grad
    zero = make("zeros").initial()
    assert not zero.h.any()
    assert not zero.z.any()


def test_bfloat16_products_leave_gaussian_stats_and_samples_in_float32() -> None:
    rssm, first = make("learned"), torch.tensor([[True, False]])
    with computing_in(torch.bfloat16, torch.device("cpu")):
        post, *stats = rssm.observe(
            torch.randn(1, 2, 2), torch.randn(1, 2, 1), first, torch.randn(1, 2, 5)
        )
    assert {x.dtype for x in (post.h, post.z, *stats)} == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_without_unimix_probabilities_are_the_softmax_and_the_kl_has_its_gradient(
    dtype: torch.dtype,
) -> None:
    # d KL(p || q) / d logits of q = q - p, also where q all but rules out what p is sure of.
    latents = Categoricals(1, 3, 0.0)
    outputs = torch.tensor([[30.0, 0.0, -30.0]], dtype=dtype).requires_grad_()
    q = latents.stats(outputs)
    torch.testing.assert_close(q, torch.softmax(outputs.float(), -1).view(1, 1, 3))
    p = torch.tensor([[[0.1, 0.2, 0.7]]])
    kl = latents.kl(p, q)
    # 0.2 * 30 + 0.7 * 60 nats of surprise, less the entropy of p
    entropy = -(0.1 * math.log(0.1) + 0.2 * math.log(0.2) + 0.7 * math.log(0.7))
    torch.testing.assert_close(kl, torch.tensor([0.2 * 30 + 0.7 * 60 - entropy]))
    kl.sum().backward()
    assert outputs.grad is not None
    torch.testing.assert_close(outputs.grad.float(), (q - p).view(1, 3), rtol=1e-2, atol=1e-5)
    far = latents.stats(torch.tensor([[1000.0, 0.0, -1000.0]], dtype=dtype))
    assert latents.kl(p, far).isfinite().all()
