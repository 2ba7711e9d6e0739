from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
import torch

from daydreamer.learner import state_tree


def through_json(value: Any) -> Any:
    tree, tensors = state_tree.split(value)
    return state_tree.join(json.loads(json.dumps(tree)), tensors)


def test_an_optimizers_state_comes_back_as_it_was() -> None:
    layer = torch.nn.Linear(3, 2)
    adam = torch.optim.AdamW(layer.parameters(), lr=1e-3)
    layer(torch.ones(1, 3)).sum().backward()
    adam.step()
    back = through_json(adam.state_dict())
    assert list(back["state"]) == [0, 1]  # integer keys stay integers
    assert back["param_groups"] == adam.state_dict()["param_groups"]
    torch.testing.assert_close(
        back["state"][0]["exp_avg"], adam.state_dict()["state"][0]["exp_avg"]
    )


def test_generators_come_back_as_they_were() -> None:
    rng = np.random.default_rng(7)
    back = through_json(
        {
            "numpy": rng.bit_generator.state,
            "python": random.getstate(),
            "torch": torch.get_rng_state(),
        }
    )
    assert back["numpy"] == rng.bit_generator.state
    assert back["python"] == random.getstate()
    assert torch.equal(back["torch"], torch.get_rng_state())


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        2.5,
        "text",
        float("inf"),
        [1, [2]],
        (1, (2,)),
        {"a": {1: "b"}},
        {"$tensor": 1},
    ],
)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert through_json({"value": value}) == {"value": value}


def test_tensors_that_share_memory_are_stored_apart() -> None:
    shared = torch.arange(4.0)
    _, tensors = state_tree.split({"a": shared, "b": shared[:2]})
    assert tensors["root.a"].data_ptr() != tensors["root.b"].data_ptr()
    assert tensors["root.b"].tolist() == [0, 1]


def test_what_a_checkpoint_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"agent\.model is a object"):
        state_tree.split({"agent": {"model": object()}})


def test_a_tensor_that_is_missing_is_named() -> None:
    tree, _ = state_tree.split({"w": torch.ones(1)})
    with pytest.raises(ValueError, match=r"root\.w is missing"):
        state_tree.join(tree, {})
