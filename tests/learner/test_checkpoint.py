from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from daydreamer.learner.checkpoint import CheckpointError, Checkpoints, load_policy_arrays

POLICY = {"actor.w": np.arange(6, dtype=np.float32).reshape(2, 3)}


def save(checkpoints: Checkpoints, updates: int) -> Path:
    return checkpoints.save(updates, {"w": torch.full((3,), float(updates)), "n": updates}, POLICY)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "learner" / "checkpoints"


def test_what_was_saved_is_loaded(root: Path) -> None:
    save(Checkpoints(root, keep=3), 7)
    loaded = Checkpoints(root, keep=3).load()
    assert loaded is not None
    updates, state = loaded
    assert (updates, state["n"], state["w"].tolist()) == (7, 7, [7, 7, 7])


def test_a_new_run_has_no_checkpoint(root: Path) -> None:
    assert Checkpoints(root, keep=3).load() is None


def test_the_newest_are_kept_and_latest_points_to_the_last(root: Path) -> None:
    checkpoints = Checkpoints(root, keep=2)
    for updates in (5, 50, 500):
        save(checkpoints, updates)
    assert sorted(path.name for path in root.iterdir()) == ["50", "500", "latest"]
    assert (root / "latest" / "state.json").exists()
    assert (root / "latest").resolve().name == "500"


@pytest.mark.parametrize(
    "name", ["state.safetensors", "state.json", "policy.safetensors", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(
    root: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(root, keep=3)
    save(checkpoints, 5)
    path = save(checkpoints, 6) / name
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    else:
        path.unlink()
    arrays, version = load_policy_arrays(root.parent.parent)
    assert version == 5
    np.testing.assert_array_equal(arrays["actor.w"], POLICY["actor.w"])

    loaded = Checkpoints(root, keep=3).load()
    assert loaded is not None
    assert loaded[0] == 5
    assert "checkpoints/6" in caplog.text
    assert (root / "6.corrupt").is_dir()
    save(checkpoints, 6)  # the run comes by this count again
    assert load_policy_arrays(root.parent.parent)[1] == 6


def test_no_intact_checkpoint_is_an_error_with_advice_and_nothing_is_moved(root: Path) -> None:
    path = save(Checkpoints(root, keep=3), 5)
    (path / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="none of the 1 checkpoints"):
        Checkpoints(root, keep=3).load()
    assert path.is_dir()


def test_a_run_without_checkpoints_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has training begun"):
        load_policy_arrays(tmp_path)


def test_what_a_killed_learner_left_half_written_is_invisible_and_cleared(root: Path) -> None:
    save(Checkpoints(root, keep=3), 5)
    half = root / ".writing-9"
    half.mkdir()
    (half / "state.json").write_text("{")
    assert load_policy_arrays(root.parent.parent)[1] == 5
    Checkpoints(root, keep=3)
    assert not half.exists()


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from daydreamer.learner.checkpoint import CheckpointError, Checkpoints
checkpoints = Checkpoints(Path(sys.argv[1]), keep=3)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoints.save(6, {"w": torch.zeros(100_000)}, {"w": np.zeros(3, np.float32)})
except CheckpointError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_older_checkpoint_and_says_what_to_do(root: Path) -> None:
    assert resource.RLIMIT_FSIZE
    save(Checkpoints(root, keep=3), 5)
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert "Free some disk space" in done.stdout, done.stderr
    assert sorted(path.name for path in root.iterdir()) == ["5", "latest"]
    assert load_policy_arrays(root.parent.parent)[1] == 5


def test_a_moved_run_still_finds_its_checkpoint(root: Path, tmp_path: Path) -> None:
    save(Checkpoints(root, keep=3), 5)
    moved = tmp_path / "elsewhere"
    shutil.move(root.parent, moved / "learner")
    assert (moved / "learner" / "checkpoints" / "latest" / "state.json").exists()
    assert load_policy_arrays(moved)[1] == 5
