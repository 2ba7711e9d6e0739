"""Open-loop prediction: look at a few rows, then dream with the recorded actions and compare.

N windows of T rows, K of them seen, R dreams of each.

    # row        0 .. K-1              K           K+1   ...
    # belief     posterior of what     prior(h)    prior(h)
    # action     was seen              a_K         a_K+1          as executed by the robot
    # horizon                          1           2
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from daydreamer.agents.world_model import WorldModel
from daydreamer.models.distributions import symexp
from daydreamer.models.rssm import Latent

CONTEXT = 5  # K, rows seen before the dream begins
HORIZONS = (1, 5, 15, 50)
DECODED_ROWS = 256  # at a time: all at once, images would take memory that an update never needs


def latent_noise(model: WorldModel, *lead: int, generator: torch.Generator) -> Tensor:
    """What drawing latents of so many beliefs takes: (*lead, S)."""
    latents = model.rssm.latents
    return latents.noise((*lead, latents.stoch), generator=generator, device=generator.device)


def dream(
    model: WorldModel,
    seen: Latent,
    action: Tensor,
    generator: torch.Generator,
    *,
    context: int = CONTEXT,
    dreams: int = 1,
) -> Latent:
    """Beliefs (R, N, T, ...): those of `seen` (N, T, ...) in the context, dreamed ones after it.

    action: (N, T, A), recorded. Rows behind a window's end are dreamed too: nothing depends on
    them.
    """
    rows, steps = action.shape[:2]
    # Every dream begins in the same belief; only what it draws differs.
    latent = Latent(*(x[:, context - 1].repeat(dreams, *[1] * (x.ndim - 2)) for x in seen))
    repeated = action.repeat(dreams, 1, 1)
    ahead = []
    for t in range(context, steps):
        noise = latent_noise(model, dreams * rows, generator=generator)
        latent = model.rssm.imagine_step(latent, repeated[:, t], noise)
        ahead.append(latent)
    parts = []
    for field, known in enumerate(seen):
        before = known[:, :context].repeat(dreams, *[1] * (known.ndim - 1))
        dreamed = [step[field].unsqueeze(1).to(known.dtype) for step in ahead]
        parts.append(torch.cat([before, *dreamed], 1).unflatten(0, (dreams, rows)))
    return Latent(*parts)


def predict(model: WorldModel, beliefs: Latent) -> dict[str, Tensor]:
    """What is seen and earned in beliefs (*lead, ...): {key: (*lead, *shape)} in the data's units.

    Images are in [0, 1]; the key `reward` is the reward on arriving.
    """
    lead = beliefs.h.shape[:-1]
    flat = Latent(*(x.flatten(0, len(lead) - 1) for x in beliefs))
    parts = [
        model.decoder(Latent(*(x[first : first + DECODED_ROWS] for x in flat)))
        for first in range(0, len(flat.h), DECODED_ROWS)
    ]
    found = {key: torch.cat([part[key] for part in parts]).float() for key in parts[0]}
    if model.cfg.symlog_vectors:
        vectors = set(found) - set(model.decoder.images)
        found.update({key: symexp(found[key]) for key in vectors})
    found["reward"] = predict_reward(model, flat)
    return {key: x.unflatten(0, lead) for key, x in found.items()}


def predict_reward(model: WorldModel, beliefs: Latent) -> Tensor:
    """The reward on arriving in beliefs (N, ...), in the task's units: (N,)."""
    return symexp(model.reward(beliefs).squeeze(-1).float())


def horizon_errors(
    dreams: Tensor, truth: Tensor, reaches: Tensor, spread: float
) -> tuple[Tensor, Tensor]:
    """(mean squared error / spread, mean absolute error), each (J,), at J horizons.

    dreams (R, N, J, *shape), truth (N, J, *shape); reaches (N, J) bool: which windows are that
    long. spread: the signal's variance, mean over its dimensions. NaN where no window reaches, or
    spread is 0.

    Squared: of what the model expects. The mean of R dreams is off that by chance, by var / R in
    the mean, which is taken out (never below 0): a model that knows nothing has 1, however few the
    dreams.
    """
    gap = (dreams.mean(0) - truth).reshape(*reaches.shape, -1)
    square = gap.square()
    if len(dreams) > 1:
        square = square - (dreams.var(0) / len(dreams)).reshape(gap.shape)
    count = reaches.sum(0)
    squared = torch.where(reaches, square.mean(-1), 0.0).sum(0) / count
    absolute = torch.where(reaches, gap.abs().mean(-1), 0.0).sum(0) / count
    if not spread > 0:
        return torch.full_like(squared, torch.nan), absolute
    return squared.clamp_min(0) / spread, absolute


def open_loop_metrics(
    model: WorldModel,
    beliefs: Latent,
    batch: Mapping[str, Tensor],
    length: Tensor,
    spread: Mapping[str, float],
    *,
    context: int = CONTEXT,
) -> dict[str, float]:
    """Errors at HORIZONS of R dreams, beliefs (R, N, T, ...), by metric name.

    batch: the rows (N, T, ...); length (N,). A horizon that no window reaches is left out.
    """
    at = [context - 1 + horizon for horizon in HORIZONS]
    near = [t for t in at if t < beliefs.h.shape[2]]
    guess = predict(model, Latent(*(x[:, :, near] for x in beliefs)))
    reaches = torch.tensor(near, device=length.device) < length.unsqueeze(1)
    metrics = {}
    for key, dreams in guess.items():
        truth = as_predicted(model, key, batch[key])[:, near]
        relative, absolute = horizon_errors(dreams, truth, reaches, spread[key])
        for horizon, error, gap in zip(
            HORIZONS, relative.tolist(), absolute.tolist(), strict=False
        ):
            metrics[f"{key}_{horizon}"] = error
            if key == "reward":
                metrics[f"reward_abs_{horizon}"] = gap
    return {name: x for name, x in metrics.items() if x == x}  # NaN: nothing was measured


def as_predicted(model: WorldModel, key: str, recorded: Tensor) -> Tensor:
    """A recorded column in the units of predict()."""
    return recorded.float() / 255 if key in model.decoder.images else recorded.float()
