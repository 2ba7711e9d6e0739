"""What a process has taken of the machine's memory. No torch: an actor is measured with it."""

from __future__ import annotations

from pathlib import Path

STATUS = Path("/proc/self/status")


def resident_mib(field: str = "VmRSS", status: Path = STATUS) -> float | None:
    """Memory of this process: VmRSS now, VmHWM at its peak. None where Linux does not tell."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{field}:")]
    return int(found[0]) / 1024 if found else None
