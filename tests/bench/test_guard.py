from __future__ import annotations

import time

import pytest

from daydreamer.bench import guard
from daydreamer.bench.guard import Guard, Rounds
from daydreamer.bench.neighbour import Neighbour
from daydreamer.cores import STAT


class Script:
    """Others' load, one number a round, in cores of two; then quiet for good."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *loads: float | None) -> None:
        self.loads, self.lulls, self.cores = list(loads), 0, 2
        monkeypatch.setattr(guard, "OtherLoad", lambda own_s: self)
        monkeypatch.setattr(guard, "ROUND_S", 1e-6)
        monkeypatch.setattr(guard, "LOOK_S", 0.0)
        monkeypatch.setattr(Guard, "_await_lull", self._lull)

    def look(self) -> float | None:
        return self.loads.pop(0) if self.loads else 0.0

    def _lull(self) -> None:
        self.lulls += 1


def run(wanted: int = 3) -> tuple[Rounds, list[str]]:
    said: list[str] = []
    return Guard(lambda: time.sleep(0.001), said.append).rounds("update", wanted), said


def test_a_round_that_others_disturbed_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(monkeypatch, 0.0, 0.14, 0.10, 1.5)  # of two cores: 0, 7, 5 and 75 %
    found, said = run()
    assert (len(found.clean), len(found.disturbed)) == (3, 2)
    assert all(seconds >= 0.001 for seconds in found.clean + found.disturbed)
    assert script.lulls == 2
    assert said[1].startswith("update 1 of 3: ")
    assert said[1].endswith("others took 7 % of the cores, does not count")


def test_a_machine_that_is_never_quiet_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    Script(monkeypatch, *[2.0] * 100)
    found, _ = run()
    assert (len(found.clean), len(found.disturbed)) == (0, 3 * guard.TRIES)
    assert not found.is_enough


def test_as_many_clean_rounds_as_were_wanted_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    Script(monkeypatch)
    assert run(wanted=1)[0].is_enough
    Script(monkeypatch, *[2.0] * 100)
    assert not run(wanted=1)[0].is_enough
    assert not Rounds(clean=[1.0, 1.0], wanted=9).is_enough


def test_where_nothing_tells_every_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    Script(monkeypatch, None, None, None)
    assert len(run()[0].clean) == 3


def test_quick_work_is_repeated_until_a_round_is_long_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Script(monkeypatch)
    monkeypatch.setattr(guard, "ROUND_S", 0.1)
    pieces: list[float] = []

    def work() -> None:
        time.sleep(0.001)
        pieces.append(time.monotonic())

    watch = Guard(work, lambda text: None)
    pieces.clear()
    (seconds,) = watch.rounds("update", wanted=1).clean
    assert len(pieces) > 1
    assert seconds >= 0.001  # of one piece, not of the round


@pytest.mark.skipif(not STAT.exists(), reason="only Linux tells")
def test_a_neighbour_is_busy_and_says_how_busy() -> None:
    neighbour = Neighbour()
    assert neighbour.cpu_s() == 0.0
    with neighbour.busy():
        end_s = time.monotonic() + 20
        while neighbour.cpu_s() < 0.1:
            assert time.monotonic() < end_s, "the neighbour does nothing"
            time.sleep(0.01)
        during_s = neighbour.cpu_s()
    after_s = neighbour.cpu_s()
    assert after_s >= during_s
    time.sleep(0.05)
    assert neighbour.cpu_s() == after_s  # it is gone
