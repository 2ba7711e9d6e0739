"""Checkpoints: complete or invisible, checked when read, without pickle.

RUN/learner/checkpoints/<updates>/state.safetensors   tensors: agent, optimizers, generators
                                  state.json          everything else, and where tensors belong
                                  policy.safetensors  the task's policy, which eval shows, also
                                                      while actors run one that explores
                                  manifest.json       size and SHA-256 of the three
RUN/learner/checkpoints/latest -> <updates>
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from daydreamer.learner import state_tree
from daydreamer.wire.codec import WireError
from daydreamer.wire.weights import Weights, pack_weights, unpack_weights

log = logging.getLogger(__name__)

FORMAT = 2  # 1 kept the mean of rewards elsewhere
MANIFEST = "manifest.json"
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read. Says which, why, and what to do."""


class Checkpoints:
    """The folder RUN/learner/checkpoints, for the one process that writes it."""

    def __init__(self, root: Path, keep: int) -> None:
        """keep: older checkpoints beyond this number are deleted."""
        self.root, self._keep = Path(root), keep
        self.root.mkdir(parents=True, exist_ok=True)
        for left_over in self.root.glob(".writing-*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def save(
        self, updates: int, state: Mapping[str, Any], policy: Mapping[str, NDArray[Any]]
    ) -> Path:
        """Write a checkpoint, drop the oldest. Raises CheckpointError; then nothing has changed."""
        final = self.root / str(updates)
        if final.exists():  # nothing was trained since
            return final
        partial = self.root / f".writing-{updates}"
        try:
            partial.mkdir()
            _write(partial, {"format": FORMAT, "updates": updates, "state": state}, policy, updates)
            partial.rename(final)
            _sync(self.root)
            self._point_latest(updates)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            cure = (
                "Free some disk space or lower learner.keep_checkpoints; the older ones are intact."
                if error.errno in _DISK_FULL
                else "Check the folder's permissions and the disk; the older ones are intact."
            )
            raise CheckpointError(
                f"cannot write the checkpoint {final}: {error.strerror}. {cure}"
            ) from error
        for old in _complete(self.root)[: -self._keep]:
            shutil.rmtree(self.root / str(old), ignore_errors=True)
        return final

    def load(self) -> tuple[int, dict[str, Any]] | None:
        """(updates, state) of the newest intact checkpoint, None when there is none at all.

        Newer ones that do not check are moved aside. Raises CheckpointError when none checks.
        """
        found = _newest(self.root)
        if found is None:
            return None
        updates, files, damaged = found
        for bad in damaged:
            aside = self.root / f"{bad}.corrupt"
            shutil.rmtree(aside, ignore_errors=True)
            (self.root / str(bad)).rename(aside)
            log.warning("%s is kept for study; training goes on from update %d", aside, updates)
        if damaged:
            self._point_latest(updates)
        tree = json.loads(files["state.json"])
        state = state_tree.join(tree["state"], load_tensors(files["state.safetensors"]))
        return updates, state

    def _point_latest(self, updates: int) -> None:
        link = self.root / ".writing-latest"
        link.unlink(missing_ok=True)
        link.symlink_to(str(updates))
        link.replace(self.root / "latest")
        _sync(self.root)


def load_policy_arrays(run_dir: Path) -> tuple[Mapping[str, NDArray[Any]], int]:
    """(weights for Policy.load_arrays, policy version) of a run's newest intact checkpoint.

    Reads only: safe while the run goes on. Raises CheckpointError when there is none.
    """
    root = Path(run_dir) / "learner" / "checkpoints"
    found = _newest(root)
    if found is None:
        raise CheckpointError(
            f"no checkpoint in {root}. Is {run_dir} the run's folder, and has training begun? "
            "The first one is written when a run ends or after learner.checkpoint_every_s."
        )
    weights = _unpack(found[1])
    return weights.tensors, weights.version


def _unpack(files: Mapping[str, bytes]) -> Weights:
    return unpack_weights(files["policy.safetensors"])


def _write(
    folder: Path, tree: Mapping[str, Any], policy: Mapping[str, NDArray[Any]], updates: int
) -> None:
    plain, tensors = state_tree.split(tree)
    contents = {
        "state.safetensors": save_tensors(tensors),
        "state.json": json.dumps(plain).encode(),
        "policy.safetensors": pack_weights(
            {name: np.asarray(array) for name, array in policy.items()}, updates, time.time()
        ),
    }
    manifest = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in contents.items()
    }
    for name, data in {**contents, MANIFEST: json.dumps(manifest, indent=1).encode()}.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    _sync(folder)


def _newest(root: Path) -> tuple[int, dict[str, bytes], list[int]] | None:
    """(updates, files, newer ones that do not check); None for an empty folder."""
    damaged: list[int] = []
    for updates in reversed(_complete(root)):
        try:
            return updates, _read(root / str(updates)), damaged
        except CheckpointError as error:
            log.warning("%s", error)
            damaged.append(updates)
        except FileNotFoundError:  # its writer has dropped it just now
            continue
    if damaged:
        raise CheckpointError(
            f"none of the {len(damaged)} checkpoints in {root} is intact. Move that folder away to "
            "train anew from the stored rows, or put back a copy of it."
        )
    return None


def _read(folder: Path) -> dict[str, bytes]:
    """The files of a checkpoint, checked against its manifest. Raises CheckpointError."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        expected = {name: (entry["bytes"], entry["sha256"]) for name, entry in manifest.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if not folder.exists():
            raise FileNotFoundError(str(folder)) from error
        raise CheckpointError(f"{folder}: its manifest cannot be read ({error})") from error
    files: dict[str, bytes] = {}
    for name, (size, sha256) in expected.items():
        try:
            data = (folder / name).read_bytes()
        except OSError as error:
            if not folder.exists():
                raise FileNotFoundError(str(folder)) from error
            raise CheckpointError(f"{folder / name} cannot be read: {error.strerror}") from error
        if len(data) != size:
            raise CheckpointError(f"{folder / name} has {len(data)} bytes, {size} were written")
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CheckpointError(f"{folder / name} does not match its checksum")
        files[name] = data
    _check_contents(folder, files)
    return files


def _check_contents(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        found = json.loads(files["state.json"])["format"]
        _unpack(files)
    except (KeyError, ValueError, TypeError, SafetensorError, WireError) as error:
        raise CheckpointError(f"{folder} is not a checkpoint of this program: {error}") from error
    if found != FORMAT:
        raise CheckpointError(
            f"{folder} has format {found}, this program reads {FORMAT}. Go on with the version "
            "that wrote it (RUN/config.yaml names its commit), or begin a new run."
        )


def _complete(root: Path) -> list[int]:
    """Update counts of the checkpoints in a folder, ascending."""
    if not root.is_dir():
        return []
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdecimal())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
