"""Open-loop prediction: errors worked out by hand, and a dream that sees nothing of the future."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.open_loop import (
    dream,
    horizon_errors,
    latent_noise,
    open_loop_metrics,
    predict,
)
from daydreamer.models.rssm import Latent
from robots.base import ActionSpec, ArraySpec

OBSERVATIONS = {"pose": ArraySpec((2,)), "rgb": ArraySpec((64, 64, 1), "uint8")}
N, T = 3, 24


def make(**options: object) -> Agent:
    cfg = AgentConfig(
        deter=8, units=8, stoch=3, classes=4, prior_layers=1, mlp_layers=1, mlp_units=8,
        cnn_depth=2, horizon=3, **options,
    )  # type: ignore[arg-type]  # fmt: skip
    return build_agent(cfg, OBSERVATIONS, ActionSpec("continuous", 2), seed=0)


def rows(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    is_first = torch.zeros(N, T, dtype=torch.bool)
    is_first[:, 0] = True
    return {
        "pose": torch.randn(N, T, 2, generator=generator),
        "rgb": torch.randint(0, 256, (N, T, 64, 64, 1), generator=generator).to(torch.uint8),
        "action": torch.randn(N, T, 2, generator=generator),
        "reward": torch.randn(N, T, generator=generator),
        "is_first": is_first,
    }


def beliefs(agent: Agent, batch: dict[str, Tensor], dreams: int = 2) -> tuple[Latent, Latent]:
    """(seen, dreamed)."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        noise = latent_noise(agent.model, N, T, generator=generator)
        seen, _, _ = agent.model.rssm.observe(
            agent.model.embed(batch), batch["action"], batch["is_first"], noise
        )
        return seen, dream(agent.model, seen, batch["action"], generator, dreams=dreams)


def test_errors_are_relative_to_the_signal_s_variance() -> None:
    # One dream of two windows at two horizons; the second window reaches only the first.
    dreams = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]], [[2.0, 0.0], [9.0, 9.0]]]])
    truth = torch.zeros(2, 2, 2)
    reaches = torch.tensor([[True, True], [True, False]])
    relative, absolute = horizon_errors(dreams, truth, reaches, spread=2.0)
    # Horizon 1: (1 + 9) / 2 = 5 and (4 + 0) / 2 = 2, mean 3.5, by 2; |.|: 2 and 1
    torch.testing.assert_close(relative, torch.tensor([1.75, 0.0]))
    torch.testing.assert_close(absolute, torch.tensor([1.5, 0.0]))


def test_scatter_of_few_dreams_is_no_error_of_what_the_model_expects() -> None:
    # Two dreams, 1 and 3, of a truth of 0: (2^2 - var 2 / 2) = 3
    dreams = torch.tensor([1.0, 3.0]).view(2, 1, 1)
    relative, _ = horizon_errors(dreams, torch.zeros(1, 1), torch.ones(1, 1, dtype=bool), 1.0)
    assert relative.tolist() == [3]
    # -1 and 1: nothing is left but their scatter
    relative, _ = horizon_errors(dreams - 2, torch.zeros(1, 1), torch.ones(1, 1, dtype=bool), 1.0)
    assert relative.tolist() == [0]


def test_a_model_that_knows_nothing_has_an_error_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = 5 + 3 * torch.randn(20_000, 1, generator=generator)
    guess = 5 + 3 * torch.randn(4, 20_000, 1, generator=generator)
    reaches = torch.ones(20_000, 1, dtype=torch.bool)
    relative, _ = horizon_errors(guess, truth, reaches, spread=9.0)
    assert float(relative) == pytest.approx(1, abs=0.05)


def test_what_no_window_reaches_and_what_never_moves_is_not_measured() -> None:
    dreams, truth = torch.ones(1, 2, 1), torch.zeros(2, 1)
    never = torch.zeros(2, 1, dtype=torch.bool)
    assert horizon_errors(dreams, truth, never, spread=1.0)[0].isnan().all()
    assert horizon_errors(dreams, truth, ~never, spread=0.0)[0].isnan().all()


def test_a_dream_begins_in_what_was_seen_and_depends_on_no_later_row() -> None:
    agent, batch = make(), rows()
    seen, dreamed = beliefs(agent, batch)
    assert dreamed.h.shape == (2, N, T, 8)
    for field, known in zip(dreamed, seen, strict=True):
        assert torch.equal(field[0, :, :5], known[:, :5])
    other = rows(seed=7)
    later = {**batch, **{key: batch[key].clone() for key in ("pose", "rgb")}}
    for key in ("pose", "rgb"):
        later[key][:, 5:] = other[key][:, 5:]
    _, again = beliefs(agent, later)
    assert all(torch.equal(a, b) for a, b in zip(dreamed, again, strict=True))
    moved = {**batch, "action": batch["action"].clone()}
    moved["action"][:, 10] += 1
    _, differs = beliefs(agent, moved)
    assert torch.equal(differs.h[:, :, :10], dreamed.h[:, :, :10])
    assert not torch.equal(differs.h[:, :, 10], dreamed.h[:, :, 10])


def test_dreams_of_one_window_differ() -> None:
    _, dreamed = beliefs(make(), rows())
    assert not torch.equal(dreamed.drawn[0, :, 5:], dreamed.drawn[1, :, 5:])


@pytest.mark.parametrize("symlog", [False, True])
def test_predictions_are_in_the_units_of_the_data(symlog: bool) -> None:
    agent = make(symlog_vectors=symlog)
    agent.model.decoder.outs["pose"].bias.data[:] = 2.0
    agent.model.decoder.outs["pose"].weight.data[:] = 0.0
    _, dreamed = beliefs(agent, rows())
    with torch.no_grad():
        found = predict(agent.model, dreamed)
    expected = float(torch.tensor(2.0).expm1()) if symlog else 2.0
    torch.testing.assert_close(found["pose"], torch.full((2, N, T, 2), expected))
    assert found["rgb"].shape == (2, N, T, 64, 64, 1)
    assert float(found["rgb"].max()) <= 1
    assert found["reward"].shape == (2, N, T)


def test_predictions_do_not_depend_on_how_many_are_decoded_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = make()
    seen, _ = beliefs(agent, rows())
    expected = predict(agent.model, seen)
    monkeypatch.setattr("daydreamer.agents.open_loop.DECODED_ROWS", 7)  # 72 beliefs: 10 x 7 + 2
    found = predict(agent.model, seen)
    assert found.keys() == expected.keys()
    for key, x in expected.items():
        torch.testing.assert_close(found[key], x)


def test_horizons_beyond_the_windows_are_left_out() -> None:
    agent, batch = make(), rows()
    _, dreamed = beliefs(agent, batch)
    spread = {"pose": 1.0, "rgb": 1.0, "reward": 1.0}
    with torch.no_grad():
        found = open_loop_metrics(agent.model, dreamed, batch, torch.tensor([24, 9, 9]), spread)
    assert {name for name in found if name.startswith("pose")} == {"pose_1", "pose_5", "pose_15"}
    assert {"rgb_1", "reward_15", "reward_abs_15"} <= found.keys()
    with torch.no_grad():
        short = open_loop_metrics(agent.model, dreamed, batch, torch.tensor([9, 9, 9]), spread)
    assert {name for name in short if name.startswith("pose")} == {"pose_1"}
