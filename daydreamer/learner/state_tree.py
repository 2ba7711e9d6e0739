"""Nested state (dicts, lists, numbers, tensors) as JSON and named tensors, and back. No pickle.

{"step": 3, "w": tensor}  <->  {"step": 3, "w": {"$tensor": "w"}}  and  {"w": tensor}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_MARKS = ("$tensor", "$array", "$items", "$tuple")


def split(value: Any, path: str = "") -> tuple[Any, dict[str, Tensor]]:
    """What JSON can hold, and the tensors it names (contiguous, on the CPU, sharing no memory)."""
    tensors: dict[str, Tensor] = {}
    return _split(value, path or "root", tensors), tensors


def join(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of split(). Raises ValueError for a tree that split() cannot have made."""
    if isinstance(tree, list):
        return [join(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1 and (mark := next(iter(tree))) in _MARKS:
        return _join_marked(mark, tree[mark], tensors)
    return {key: join(item, tensors) for key, item in tree.items()}


def _split(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"$tensor": path}
    if isinstance(value, np.ndarray):
        tensors[path] = torch.from_numpy(np.array(value, copy=True))
        return {"$array": path}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        if all(isinstance(key, str) for key in value) and not value.keys() & set(_MARKS):
            return {key: _split(item, f"{path}.{key}", tensors) for key, item in value.items()}
        # JSON would turn an optimizer's integer keys into text.
        return {
            "$items": [[key, _split(item, f"{path}.{key}", tensors)] for key, item in value.items()]
        }
    if isinstance(value, tuple):
        return {"$tuple": [_split(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_split(item, f"{path}.{i}", tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"{path} is a {type(value).__name__}; a checkpoint holds tensors and plain values"
    )


def _join_marked(mark: str, content: Any, tensors: Mapping[str, Tensor]) -> Any:
    if mark == "$items":
        return {key: join(item, tensors) for key, item in content}
    if mark == "$tuple":
        return tuple(join(item, tensors) for item in content)
    if content not in tensors:
        raise ValueError(f"the tensor {content} is missing")
    tensor = tensors[content]
    return tensor if mark == "$tensor" else tensor.numpy()
