"""The world model's loss: what is weighed by what, who learns from what, and that it fits."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.models.rssm import Latent
from robots.base import ActionSpec, ArraySpec

SIZES = {
    "deter": 24, "units": 24, "stoch": 6, "classes": 6, "prior_layers": 1, "mlp_layers": 1,
    "mlp_units": 32, "cnn_depth": 4, "horizon": 3,
}  # fmt: skip
OBSERVATIONS = {"phase": ArraySpec((2,)), "rgb": ArraySpec((64, 64, 1), "uint8")}
ACTION = ActionSpec("continuous", 1)
T = 10


def make(observations: Mapping[str, ArraySpec] = OBSERVATIONS, /, **options: object) -> Agent:
    return build_agent(AgentConfig(**{**SIZES, **options}), observations, ACTION, seed=0)  # type: ignore[arg-type]


def chunk() -> dict[str, Tensor]:
    """Four robots that turn at a speed of their own; the picture's bright half follows."""
    speed, start = torch.tensor([0.5, 0.8, -0.5, -0.8]), torch.tensor([0.0, 1.5, 3.0, 4.5])
    angle = start[:, None] + speed[:, None] * torch.arange(T)
    phase = torch.stack([angle.cos(), angle.sin()], -1)
    rows = torch.linspace(-1, 1, 64)
    bright = phase[..., 0, None, None] * rows + phase[..., 1, None, None] * rows[:, None] > 0
    is_first = torch.zeros(4, T, dtype=torch.bool)
    is_first[:, 0] = True
    return {
        "phase": phase,
        "rgb": (bright * 200).to(torch.uint8).unsqueeze(-1),
        "action": speed[:, None, None].expand(4, T, 1).clone(),
        "reward": 3 * phase[..., 0],
        "is_first": is_first,
        "is_terminal": torch.zeros(4, T, dtype=torch.bool),
    }


def train(agent: Agent, batch: dict[str, Tensor], steps: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    latents = agent.model.rssm.latents
    for _ in range(steps):
        noise = latents.noise((*batch["is_first"].shape, latents.stoch), generator=generator)
        loss = agent.model.loss(batch, noise)
        loss.loss.backward()
        agent.optimizers["model"].step(loss.loss)
    return {name: float(x) for name, x in loss.metrics.items()}


@pytest.mark.parametrize(
    "latents", ["categorical", pytest.param("gaussian", marks=pytest.mark.slow)]
)
def test_one_chunk_is_memorised_and_then_predicted_without_looking(latents: str) -> None:
    observations = {"phase": OBSERVATIONS["phase"]}
    scales = {"vector_scale": 10, "reward_scale": 10, "kl_target_nats": 1}
    agent, batch = make(observations, model_lr=3e-3, latents=latents, **scales), chunk()
    first, last = train(agent, batch, 1), train(agent, batch, 300)
    assert last["phase_loss"] < 0.05 * first["phase_loss"]
    assert last["reward_loss"] < 0.05 * first["reward_loss"]
    assert last["kl_nats"] < 0.75 * first["kl_nats"]
    # Five rows of context, then five steps in the dark.
    seen = {key: x[:, :5] for key, x in batch.items()}
    generator, draw = torch.Generator().manual_seed(1), agent.model.rssm.latents.noise
    with torch.no_grad():
        post, _, _ = agent.model.rssm.observe(
            agent.model.embed(seen), seen["action"], seen["is_first"],
            draw((4, 5, agent.cfg.stoch), generator=generator),
        )  # fmt: skip
        latent, errors = Latent(*(x[:, -1] for x in post)), []
        for t in range(5, T):
            noise = draw((4, agent.cfg.stoch), generator=generator)
            latent = agent.model.rssm.imagine_step(latent, batch["action"][:, t], noise)
            found = agent.model.decoder(latent)["phase"]
            errors.append((found - batch["phase"][:, t]).square().sum(-1).mean())
    # A guess of zero is wrong by 1, a random phase by 2.
    assert float(torch.stack(errors).mean()) < 0.25


def test_pictures_of_one_chunk_are_memorised() -> None:
    agent, batch = make(model_lr=3e-3), {key: x[:2, :5] for key, x in chunk().items()}
    first, last = train(agent, batch, 1), train(agent, batch, 150)
    assert last["rgb_loss"] < 0.5 * first["rgb_loss"]


@pytest.mark.parametrize(
    ("option", "loss"),
    [
        ("vector_scale", "phase_loss"),
        ("image_scale", "rgb_loss"),
        ("reward_scale", "reward_loss"),
        ("cont_scale", "cont_loss"),
    ],
)
def test_each_scale_weighs_its_own_loss(option: str, loss: str) -> None:
    uniform = torch.rand(4, T, 6, generator=torch.Generator().manual_seed(0))
    plain, scaled = (
        make(**options).model.loss(chunk(), uniform) for options in ({}, {option: 3.0})
    )
    for name, value in plain.metrics.items():
        factor = 3.0 if name == loss else 1.0
        torch.testing.assert_close(scaled.metrics[name], factor * value)
    torch.testing.assert_close(scaled.loss, plain.loss + 2 * plain.metrics[loss])


def test_losses_of_an_untrained_model_that_says_nothing_are_as_worked_out() -> None:
    agent, batch = make(), chunk()
    for module in (agent.model.decoder, agent.model.reward, agent.model.cont):
        for param in module.parameters():
            torch.nn.init.zeros_(param)
    metrics = agent.model.loss(batch, torch.rand(4, T, 6)).metrics
    # Vectors: |0 - phase|^2 = 1, no half. Images: 0.5 is said, 200/255 or 0 is right, summed.
    assert float(metrics["phase_loss"]) == pytest.approx(1.0, rel=1e-5)
    right = batch["rgb"].float() / 255
    expected = (right - 0.5).square().sum((2, 3, 4)).mean()
    assert float(metrics["rgb_loss"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(metrics["cont_loss"]) == pytest.approx(math.log(2), rel=1e-5)


def test_the_reward_of_a_first_row_teaches_nothing() -> None:
    agent, batch, uniform = make(), chunk(), torch.rand(4, T, 6)
    before = agent.model.loss(batch, uniform).metrics["reward_loss"]
    batch["reward"][:, 0] = 100.0
    torch.testing.assert_close(agent.model.loss(batch, uniform).metrics["reward_loss"], before)
    batch["reward"][:, 1] = 100.0
    assert agent.model.loss(batch, uniform).metrics["reward_loss"] > before


@pytest.mark.parametrize("balance", [1.0, 0.8])
def test_the_encoder_learns_from_the_kl_only_as_far_as_the_balance_says(balance: float) -> None:
    nothing_else = dict.fromkeys(("vector_scale", "image_scale", "reward_scale", "cont_scale"), 0.0)
    agent = make(kl_balance=balance, **nothing_else)
    # One row, so that the posterior reaches the prior over no later h.
    one = {key: x[:, :1] for key, x in chunk().items()}
    agent.model.loss(one, torch.rand(4, 1, 6)).loss.backward()
    gradients = [p.grad for p in agent.model.encoder.parameters()]
    reached = any(g is not None and bool(g.any()) for g in gradients)
    assert reached == (balance < 1)
    assert all(p.grad is not None and p.grad.any() for p in agent.model.rssm.prior.parameters())


def test_without_unimix_an_update_stays_finite() -> None:
    agent = make(unimix=0.0, actor_unimix=0.0)
    for _ in range(3):
        metrics = agent.update(chunk())
        assert float(metrics["bad"]) == 0
