"""Whether an update's matrix products run in bfloat16."""

from __future__ import annotations

from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")
_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # x86 and Arm; without them bf16 is slower than fp32


def uses_bf16(precision: str, device: torch.device, cpu_info: Path = CPU_INFO) -> bool:
    """True for "bf16", and for "auto" where the device has instructions for it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        words = cpu_info.read_text(encoding="ascii", errors="replace").split()
    except OSError:  # not Linux: nothing is known, fp32 is right everywhere
        return False
    return not _FLAGS.isdisjoint(words)
