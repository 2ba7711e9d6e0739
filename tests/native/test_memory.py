"""Memory that was freed stays with the process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource
from daydreamer.native.memory import keep_freed_memory
if {keep}:
    keep_freed_memory()
import torch
torch.set_num_threads(1)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(24 << 20, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
for _ in range(10):  # aligned allocations find their place after a few rounds
    faults()
print(min(faults() for _ in range(5)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="an option of glibc's allocator")
def test_the_same_allocation_again_brings_no_new_pages() -> None:
    found = {}
    for keep in (True, False):
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(keep=keep)],
            # How much glibc keeps by itself depends on what was freed before: here, nothing.
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        found[keep] = int(run.stdout)
    pages = 5 * (24 << 20) // 4096
    assert found[False] > pages / 2  # what is prevented, or this test would prove nothing
    assert found[True] < pages / 100
