"""Policy weights as one safetensors blob, with version, time of cutting and hash in its metadata.

safetensors is a JSON header and raw arrays: reading it runs no code, and other tools can open it.
The hash covers names, dtypes, shapes and bytes as well as version and time, so that a blob stitched
together from two publications is refused too. On the way to a robot, float32 travels as float16:
half the bytes, and less change of the actions than another draw of the latent makes
(docs/decisions/0052-encodings.md). Who unpacks gets float32 either way.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from daydreamer.wire.headers import WireError
from daydreamer.wire.rows import Array

MAX_WEIGHTS_BYTES = 1 << 30
MAX_TENSORS = 10_000
MAX_JSON_BYTES = 4 << 20
HALF_MAX = 65504.0  # the largest float16
_DTYPES = {
    **{"float16": "F16", "float32": "F32", "float64": "F64"},
    **{"bool": "BOOL", "uint8": "U8", "int32": "I32", "int64": "I64"},
}


@dataclass(frozen=True)
class Weights:
    """Verified policy weights. `version` is the update count when they were cut."""

    version: int
    cut_time_s: float  # seconds since the epoch, the learner's clock
    sha256: str
    tensors: Mapping[str, Array]


def pack_weights(
    tensors: Mapping[str, Array], version: int, cut_time_s: float, *, half: bool = False
) -> bytes:
    """One blob. Raises WireError for what `unpack_weights` would refuse.

    half: round float32 to float16, all but tensors with numbers beyond its range.
    """
    if not tensors:
        raise WireError("no tensors to pack; the policy's arrays were expected")
    plain = {}
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor)
        if array.dtype.name not in _DTYPES:
            raise WireError(f"{name!r} has dtype {array.dtype}, expected one of {sorted(_DTYPES)}")
        # ascontiguousarray makes a scalar (1,): keep the shape that will be loaded into
        array = array.reshape(np.shape(tensor))
        _check_finite(name, array)
        plain[name] = _halved(array) if half and array.dtype == np.float32 else array
    metadata = {
        "version": str(int(version)),
        "cut_time_s": repr(float(cut_time_s)),
        "sha256": _digest(plain, int(version), float(cut_time_s)),
    }
    return bytes(save(plain, metadata))


def unpack_weights(blob: bytes) -> Weights:
    """Check a blob and return its tensors, float16 widened to float32.

    Raises WireError for a wrong size, header, dtype, shape or hash, and for non-finite weights.
    """
    if len(blob) > MAX_WEIGHTS_BYTES:
        raise WireError(f"weights of {len(blob)} bytes, at most {MAX_WEIGHTS_BYTES} expected")
    header = _read_json(blob)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict):
        raise WireError("weights without metadata; version, cut_time_s and sha256 were expected")
    try:
        version, cut_time_s = int(metadata["version"]), float(metadata["cut_time_s"])
        sha256 = str(metadata["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"weights with unreadable metadata {str(metadata)[:200]}") from error
    if version < 0 or not math.isfinite(cut_time_s):
        raise WireError(f"weights of version {version}, cut at {cut_time_s}: expected 0 or more")
    _check_entries(header)
    try:
        tensors: dict[str, Array] = load(blob)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise WireError(f"weights are not readable safetensors: {error}") from error
    if _digest(tensors, version, cut_time_s) != sha256:
        raise WireError(f"weights of version {version} do not match their hash {sha256[:12]}")
    for name, tensor in tensors.items():
        _check_finite(name, tensor)
        if tensor.dtype == np.float16:
            tensors[name] = tensor.astype(np.float32)
    return Weights(version, cut_time_s, sha256, tensors)


def _read_json(blob: bytes) -> dict[str, Any]:
    """The JSON header, read by hand because safetensors' own loader drops the metadata."""
    if len(blob) < 8:
        raise WireError(f"weights of {len(blob)} bytes, expected a safetensors blob")
    (length,) = struct.unpack_from("<Q", blob)
    if length > min(MAX_JSON_BYTES, len(blob) - 8):
        raise WireError(f"weights with a header of {length} bytes in a blob of {len(blob)}")
    try:
        header = json.loads(blob[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise WireError(f"weights with an unreadable header: {error}") from error
    if not isinstance(header, dict):
        raise WireError("weights whose header is not a map, expected a safetensors blob")
    return header


def _check_entries(header: dict[str, Any]) -> None:
    """Bounds and dtypes before any tensor is made; offsets are checked by safetensors itself."""
    if not 1 <= len(header) <= MAX_TENSORS:
        raise WireError(f"weights with {len(header)} tensors, expected 1 to {MAX_TENSORS}")
    for name, entry in header.items():
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if dtype not in _DTYPES.values():
            raise WireError(f"{name!r} has dtype {dtype}, expected one of {sorted(_DTYPES)}")


def _digest(tensors: Mapping[str, Array], version: int, cut_time_s: float) -> str:
    digest = hashlib.sha256(f"{version} {cut_time_s!r}".encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype.name} {tensor.shape}\n".encode())
        digest.update(np.ascontiguousarray(tensor).data)
    return digest.hexdigest()


def _halved(array: Array) -> Array:
    """The array in float16, or as it is where numbers would become infinite."""
    fits = array.size == 0 or float(np.abs(array).max()) <= HALF_MAX
    return array.astype(np.float16) if fits else array


def _check_finite(name: str, tensor: Array) -> None:
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        count = int((~np.isfinite(tensor)).sum())
        raise WireError(f"{name!r} has {count} weights that are not finite")
