"""The policy in numpy: policy.Policy defines what it computes, fed with the same random numbers."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from daydreamer.agents.config import AgentConfig
from daydreamer.models import numpy_layers
from daydreamer.models.numpy_policy import NumpyPolicy
from daydreamer.models.numpy_weights import Shelf
from daydreamer.models.policy import Policy, build_policy
from robots.base import ActionSpec, ArraySpec

TINY = AgentConfig(
    deter=24, units=16, stoch=4, classes=5, prior_layers=1, mlp_layers=2, mlp_units=20, cnn_depth=4
)
VECTORS = {"joints": ArraySpec((5,)), "height": ArraySpec(()), "wrench": ArraySpec((2, 3))}
CAMERA = {"vector": ArraySpec((5,)), "image": ArraySpec((64, 64, 3), "uint8")}
CAMERAS = {
    "vector": ArraySpec((5,)),
    "rgb": ArraySpec((64, 64, 3), "uint8"),
    "depth": ArraySpec((64, 64, 1), "uint8"),
}
BLIND = {"rgb": ArraySpec((64, 64, 3), "uint8")}
ARM, KEYS = ActionSpec("continuous", 3), ActionSpec("discrete", 4)


class TorchNumbers:
    """The part of a numpy generator that a policy needs, drawing what torch draws."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def random(self, size: int, dtype: type) -> NDArray[Any]:
        return torch.rand(1, size, generator=self._generator).numpy()[0]

    def standard_normal(self, size: int, dtype: type) -> NDArray[Any]:
        return torch.randn(1, size, generator=self._generator).numpy()[0]


def lively_policy(
    cfg: AgentConfig,
    observations: Mapping[str, ArraySpec],
    action: ActionSpec,
    *,
    travelled: bool = False,
) -> Policy:
    """Weights, biases and norms that all matter; fresh ones are zeros and ones in places.

    travelled: rounded to float16, as weights arrive at a robot.
    """
    torch.manual_seed(7)
    policy = build_policy(cfg, observations, action)
    for name, param in policy.named_parameters():
        scale = 0.5 if param.ndim == 1 else param.shape[1] ** -0.5
        noise = scale * torch.randn(param.shape)
        param.data = 1 + noise if "norm.weight" in name else noise
    policy.get_buffer("initial_h").uniform_(-0.9, 0.9)
    if cfg.initial == "learned" and cfg.latents == "gaussian":
        policy.get_buffer("initial_z").normal_()
    if travelled:
        for tensor in policy.state_dict().values():
            tensor.copy_(tensor.half())
    if cfg.initial == "learned" and cfg.latents == "categorical":
        policy.get_buffer("initial_z").view(cfg.stoch, cfg.classes)[:, 2] = 1
    return policy


def look(rng: np.random.Generator, observations: Mapping[str, ArraySpec]) -> dict[str, Any]:
    return {
        key: rng.integers(0, 256, spec.shape, np.uint8)
        if spec.is_image
        else np.asarray(5 * rng.standard_normal(spec.shape), np.float32)
        for key, spec in observations.items()
    }


@pytest.mark.parametrize(("mode", "travelled"), [("sample", True), ("mode", False)])
@pytest.mark.parametrize(
    ("observations", "action", "changes"),
    [
        (VECTORS, ARM, {}),
        (VECTORS, KEYS, {}),
        (VECTORS, ARM, {"symlog_vectors": True, "noise_correlation": 0.9}),
        (VECTORS, KEYS, {"noise_correlation": 0.9, "unimix": 0.0, "actor_unimix": 0.0}),
        (VECTORS, ARM, {"initial": "zeros", "post_layers": 3, "mlp_layers": 1}),
        (CAMERA, ARM, {"post_layers": 2}),
        (CAMERA, ARM, {"cnn_depth": 12, "deter": 40, "stoch": 8, "classes": 8}),
        (CAMERAS, KEYS, {"symlog_vectors": True, "cnn_depth": 3}),
        (BLIND, ARM, {}),
        (VECTORS, ARM, {"latents": "gaussian"}),
        (CAMERA, KEYS, {"latents": "gaussian", "initial": "zeros", "norm": "none"}),
        (CAMERAS, ARM, {"norm": "none", "post_layers": 2}),
        (VECTORS, KEYS, {"norm": "none", "gru_norm": False}),
        (VECTORS, ARM, {"gru_norm": False}),
    ],
    ids=lambda value: getattr(value, "kind", None) or " ".join(value),
)
def test_it_computes_what_torch_computes(
    observations: dict[str, ArraySpec],
    action: ActionSpec,
    changes: dict[str, Any],
    mode: str,
    travelled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not travelled:  # as on a robot without a compiler
        monkeypatch.setattr(numpy_layers, "kernels", lambda: None)
    cfg = dataclasses.replace(TINY, **changes)
    plain = lively_policy(cfg, observations, action, travelled=travelled)
    arrays = plain.arrays()
    policy = NumpyPolicy(cfg, observations, action, arrays)
    assert policy.shapes == {name: x.shape for name, x in arrays.items()}
    generator, numbers = torch.Generator().manual_seed(1), TorchNumbers(1)
    plain_state, state = plain.initial(), policy.initial()
    rng = np.random.default_rng(2)
    # Two episodes; what is executed differs from what was chosen, as a safety layer makes it.
    for step in range(20):
        obs, executed = look(rng, observations), rng.uniform(-1, 1, action.size).astype(np.float32)
        is_first = step in (0, 12)
        expected, plain_state = plain.step(
            {key: torch.from_numpy(value[None]) for key, value in obs.items()},
            torch.from_numpy(executed[None]),
            torch.tensor([is_first]),
            plain_state,
            mode,
            generator,
        )
        found, state = policy.step(obs, executed, is_first, state, mode, numbers)  # type: ignore[arg-type]
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[0].numpy(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.h, plain_state.h[0].numpy(), rtol=1e-4, atol=1e-5)
        z = plain_state.z[0].numpy()
        if cfg.latents == "categorical":
            assert state.z.tolist() == np.flatnonzero(z > 0.5).tolist()
        else:
            assert state.z.dtype == np.float32
            np.testing.assert_allclose(state.z, z, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.noise, plain_state.noise[0].numpy(), rtol=1e-4, atol=1e-6)


def test_actions_stay_within_the_range_and_repeat_for_a_seed() -> None:
    arrays = lively_policy(TINY, VECTORS, ARM).arrays()
    policy = NumpyPolicy(
        TINY, VECTORS, ARM, {k: 9 * x if k.startswith("actor") else x for k, x in arrays.items()}
    )
    actions = []
    for _ in range(2):
        rng, state, action = np.random.default_rng(0), policy.initial(), np.zeros(3, np.float32)
        for step in range(30):
            obs = look(np.random.default_rng(step), VECTORS)
            action, state = policy.step(obs, action, step == 0, state, "sample", rng)
            actions.append(action.tolist())
    assert actions[:30] == actions[30:]
    assert np.abs(actions).max() == 1  # clipped


def test_a_later_step_does_not_change_what_an_earlier_one_returned() -> None:
    policy = NumpyPolicy(TINY, CAMERA, ARM, lively_policy(TINY, CAMERA, ARM).arrays())
    rng, nothing = np.random.default_rng(0), np.zeros(3, np.float32)
    obs = look(rng, CAMERA)
    first, state = policy.step(obs, nothing, True, policy.initial(), "sample", rng)
    kept = [first.copy(), *(x.copy() for x in state)]
    policy.step(look(rng, CAMERA), first, False, state, "sample", rng)
    for before, after in zip(kept, [first, *state], strict=True):
        assert np.array_equal(before, after)


def test_a_probability_of_exactly_one_half_is_split_where_the_uniform_number_says() -> None:
    probs = np.array([[0.5, 0.25, 0.25]] * 4, np.float32)
    uniform = np.array([0.0, 0.5, 0.74, 0.9999999], np.float32)
    assert numpy_layers.sample_class(probs, uniform).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize("kernel", [True, False])
def test_norm_and_elu_by_hand(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not kernel:
        monkeypatch.setattr(numpy_layers, "kernels", lambda: None)
    shelf = Shelf({"n.weight": np.full(2, 2.0), "n.bias": np.array([0.0, 1.0])})
    norm_elu = numpy_layers.NormElu(shelf, "n", 3, 2)
    shelf.close()
    out = norm_elu(np.array([[1, 5], [5, 1], [3, 3]], np.float32))
    # Variance 4: (-2, 2) / sqrt(4.001) is (-0.999875, 0.999875).
    low, high = np.expm1(-1.99975), np.expm1(1 - 1.99975)
    np.testing.assert_allclose(out, [[low, 2.99975], [1.99975, high], [0, 1]], rtol=1e-5)
    with pytest.raises(ValueError, match=r"\(4, ?2\)"):
        norm_elu(np.zeros((4, 2), np.float32))


def test_weights_of_another_policy_are_refused_by_name() -> None:
    arrays: dict[str, Any] = lively_policy(TINY, VECTORS, ARM).arrays()
    del arrays["initial_h"]
    arrays["stranger"] = np.zeros(1, np.float32)
    arrays["initial_z"] = np.zeros(3, np.float32)
    arrays["cell.gates.weight"] = np.full_like(arrays["cell.gates.weight"], np.nan)
    with pytest.raises(
        ValueError,
        match=r"cell.gates.weight is not finite; initial_h is missing; "
        r"initial_z has shape \(3,\), expected \(20,\); stranger is not part",
    ):
        NumpyPolicy(TINY, VECTORS, ARM, arrays)


def test_unknown_mode_is_refused() -> None:
    policy = NumpyPolicy(TINY, VECTORS, ARM, lively_policy(TINY, VECTORS, ARM).arrays())
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="mode='greedy': choose sample or mode"):
        policy.step(look(rng, VECTORS), np.zeros(3), True, policy.initial(), "greedy", rng)


def test_it_needs_no_torch() -> None:
    code = "import daydreamer.models.numpy_policy, sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "False"
