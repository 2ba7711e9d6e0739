from __future__ import annotations

import os
from pathlib import Path

import pytest

from daydreamer import cores
from daydreamer.cores import OtherLoad, allowed_cores, available_cores

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 4), ("200000 100000", 2), ("50000 100000", 1), ("900000 100000", 4)],
)
def test_a_container_may_leave_fewer_cores_than_the_machine_has(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "allowed_cores", lambda: frozenset(range(4)))
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert available_cores(file) == expected


def test_without_a_quota_the_cores_are_those_of_the_scheduler(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "none") == len(allowed_cores()) >= 1


class Machine:
    """Two cores whose counters a test moves on. Times in seconds."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cores, "allowed_cores", lambda: frozenset({0, 1}))
        self.file, self.time_s, self.own_s = folder / "stat", 0.0, 0.0
        self._ticks = 0
        self.run()

    def run(self, passed_s: float = 0, own_s: float = 0, core_0_s: float = 0) -> None:
        """Time passes; core 0 worked so long, in all columns that count, for whomever."""
        self.time_s += passed_s
        self.own_s += own_s
        self._ticks += round(core_0_s / TICK_S)
        t, idle = self._ticks, 12345
        self.file.write_text(
            f"cpu  1 2 3 4 5 6 7 8 0 0\n"
            f"cpu0 {t} 100 0 {idle} 777 0 0 5 0 0\n"
            f"cpu1 0 0 0 {idle} 0 0 0 0 0 0\n"
            f"cpu2 {99 * t} 0 0 {idle} 0 0 0 0 0 0\n"  # not for us
            "intr 1 2 3\n"
        )

    def load(self) -> OtherLoad:
        return OtherLoad(stat=self.file, own_s=lambda: self.own_s, now=lambda: self.time_s)


def test_others_load_is_what_the_allowed_cores_did_beside_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, monkeypatch)
    load = machine.load()
    machine.run(passed_s=2.0, own_s=0.5, core_0_s=1.5)
    assert load.look() == pytest.approx((1.5 - 0.5) / 2.0)
    machine.run(passed_s=1.0, own_s=0.25, core_0_s=0.25)
    assert load.look() == pytest.approx(0.0)


def test_ticks_that_lag_behind_our_own_time_are_no_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, monkeypatch)
    load = machine.load()
    machine.run(passed_s=1.0, own_s=1.0, core_0_s=0.9)
    assert load.look() == 0.0


def test_a_machine_that_does_not_tell_has_no_others_load(tmp_path: Path) -> None:
    assert OtherLoad(stat=tmp_path / "none").look() is None


@pytest.mark.skipif(not cores.STAT.exists(), reason="only Linux tells")
def test_this_machine_tells() -> None:
    load = OtherLoad()
    sum(range(3_000_000))
    found = load.look()
    assert found is not None
    assert 0 <= found <= (os.cpu_count() or 1) + 1
