"""The recurrent model: resets, masks, gradients, and the cell against its formula."""

from __future__ import annotations

import torch
from torch import Tensor

from daydreamer.models.distributions import sample_index
from daydreamer.models.latents import Categoricals
from daydreamer.models.rssm import RSSM, Latent, LatentMLP

A, E, D, S, C = 3, 5, 8, 4, 6


def make(initial: str = "learned", seed: int = 0) -> RSSM:
    torch.manual_seed(seed)
    return RSSM(
        action_size=A,
        embed_size=E,
        deter=D,
        units=7,
        latents=Categoricals(S, C, 0.01),
        prior_layers=2,
        post_layers=2,
        initial=initial,
    )


def sequence(T: int, B: int = 2, seed: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    is_first = torch.zeros(B, T, dtype=torch.bool)
    is_first[:, 0] = True
    return (
        torch.randn(B, T, E, generator=g),
        torch.randn(B, T, A, generator=g),
        is_first,
        torch.rand(B, T, S, generator=g),
    )


def test_a_border_inside_a_window_forgets_the_last_episode() -> None:
    rssm = make()
    torch.nn.init.normal_(rssm.initial_h)
    embed, action, is_first, uniform = sequence(6)
    is_first[:, 3] = True
    post, _, prior = rssm.observe(embed, action, is_first, uniform)
    alone, _, prior_alone = rssm.observe(
        embed[:, 3:], action[:, 3:], is_first[:, 3:], uniform[:, 3:]
    )
    torch.testing.assert_close(post.h[:, 3:], alone.h)
    torch.testing.assert_close(post.z[:, 3:], alone.z)
    torch.testing.assert_close(prior[:, 3:], prior_alone)


def test_only_marked_batch_entries_are_reset() -> None:
    rssm = make()
    torch.nn.init.normal_(rssm.initial_h)
    embed, action, is_first, uniform = sequence(5)
    unbroken = rssm.observe(embed, action, is_first, uniform)[0]
    is_first[0, 2] = True
    broken = rssm.observe(embed, action, is_first, uniform)[0]
    torch.testing.assert_close(broken.h[1], unbroken.h[1])
    assert not torch.allclose(broken.h[0, 2], unbroken.h[0, 2])


def test_the_action_of_a_first_row_changes_nothing_and_arguments_are_kept() -> None:
    rssm = make()
    embed, action, is_first, uniform = sequence(3)
    before = [x.clone() for x in (embed, action, is_first, uniform)]
    post = rssm.observe(embed, action, is_first, uniform)[0]
    for x, y in zip(before, (embed, action, is_first, uniform), strict=True):
        assert torch.equal(x, y)
    changed = action.clone()
    changed[:, 0] += 100
    torch.testing.assert_close(rssm.observe(embed, changed, is_first, uniform)[0].h, post.h)
    changed = action.clone()
    changed[:, 1] += 1
    moved = rssm.observe(embed, changed, is_first, uniform)[0].h
    assert torch.equal(moved[:, 0], post.h[:, 0])
    assert not torch.allclose(moved[:, 1], post.h[:, 1])


def test_the_cell_is_the_normalised_gru_with_a_remembering_bias() -> None:
    cell = make().cell
    h, z, action = torch.randn(2, D), torch.randn(2, S * C), torch.randn(2, A)
    found = cell(h, z, cell.from_action(action))
    x = torch.nn.functional.linear(
        torch.cat([z, action], -1), torch.cat([cell.from_z.weight, cell.from_action.weight], -1)
    )
    x = cell.inputs_norm(x)
    gates = torch.nn.functional.layer_norm(
        torch.nn.functional.linear(torch.cat([x, h], -1), cell.gates.weight), (3 * D,), eps=1e-3
    )
    reset, candidate, update = gates.chunk(3, -1)
    u = torch.sigmoid(update - 1)
    expected = u * torch.tanh(torch.sigmoid(reset) * candidate) + (1 - u) * h
    torch.testing.assert_close(found, expected)


def test_observing_is_imagining_with_a_look() -> None:
    rssm = make()
    embed, action, is_first, uniform = sequence(2)
    post, _, prior = rssm.observe(embed, action, is_first, uniform)
    start = Latent(*(x[:, 0] for x in post))
    step = rssm.imagine_step(start, action[:, 1], uniform[:, 1])
    torch.testing.assert_close(step.h, post.h[:, 1])
    drawn = sample_index(prior[:, 1], uniform[:, 1])
    assert torch.equal(step.z.unflatten(-1, (S, C)).argmax(-1), drawn)
    assert torch.equal(step.drawn, drawn + torch.arange(0, S * C, C))


def test_layers_over_beliefs_compute_what_layers_over_their_features_do() -> None:
    rssm = make()
    post = rssm.observe(*sequence(4))[0].flatten()
    h, z = post.h.detach().requires_grad_(), post.z.detach().requires_grad_()
    mlp = LatentMLP(rssm.feat_size, 8, 2, 3)
    weights = [h, z, *mlp.parameters()]
    fast, plain = mlp(Latent(h, z, post.drawn)), mlp(torch.cat([h, z], -1))
    torch.testing.assert_close(fast, plain)
    for found, expected in zip(
        torch.autograd.grad(fast.square().sum(), weights),
        torch.autograd.grad(plain.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)


def test_the_learned_first_state_receives_gradient_at_every_reset() -> None:
    rssm = make()
    embed, action, is_first, uniform = sequence(4)
    rssm.observe(embed, action, is_first, uniform)[0].h.sum().backward()
    assert rssm.initial_h.grad is not None
    assert rssm.initial_h.grad.abs().sum() > 0


def test_zero_first_state_is_not_learned() -> None:
    rssm = make("zeros")
    assert not rssm.initial_h.requires_grad
    start = rssm.initial()
    assert not start.h.any()
    assert not start.z.any()


def test_latents_are_one_hot_and_gradient_reaches_the_first_action_through_time() -> None:
    rssm = make()
    embed, action, is_first, uniform = sequence(4)
    action.requires_grad_()
    post = rssm.observe(embed, action, is_first, uniform)[0]
    z = post.z.unflatten(-1, (S, C))
    assert torch.equal(z.sum(-1), torch.ones(2, 4, S))
    assert set(z.detach().unique().tolist()) == {
        0.0,
        1.0,
    }
    post.feat[:, -1].square().sum().backward()
    assert action.grad is not None
    assert not action.grad[:, 0].any()
    assert action.grad[:, 1].any()
