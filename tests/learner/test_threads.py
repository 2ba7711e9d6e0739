from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from daydreamer.learner.threads import CALM, LOOK_S, Threads


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Others:
    """A machine of `cores`, of which others use `busy`; every look comes when it is due."""

    def __init__(
        self,
        cores: int,
        wanted: int = 0,
        *,
        most: int = 64,
        follow: bool = True,
        all_cores: int | None = None,
    ) -> None:
        torch.set_num_threads(most)  # what OpenMP found at the start
        self.busy: float | None = 0.0
        self.time_s = 0.0
        self.threads = Threads(
            wanted,
            follow=follow,
            cores=cores,
            all_cores=all_cores,
            others=lambda: self.busy,
            now=lambda: self.time_s,
        )

    def look(self, busy: float | None, times: int = 1) -> int:
        self.busy = busy
        for _ in range(times):
            self.time_s += LOOK_S
            self.threads.adapt()
        return torch.get_num_threads()


def test_a_quiet_machine_gives_all_its_cores() -> None:
    assert Others(cores=2).look(0.1) == 2


def test_a_busy_neighbour_takes_its_core_at_once() -> None:
    # Two threads and a neighbour share two cores: it gets 2/3 of one.
    assert Others(cores=2).look(2 / 3) == 1


def test_a_core_comes_back_when_it_was_free_for_a_while() -> None:
    others = Others(cores=2)
    assert others.look(1.0) == 1
    assert others.look(0.0, times=CALM - 1) == 1
    assert others.look(0.9) == 1  # not calm after all: from the beginning
    assert others.look(0.0, times=CALM - 1) == 1
    assert others.look(0.0) == 2


def test_an_actor_that_uses_a_third_of_a_core_costs_no_thread() -> None:
    assert Others(cores=2).look(0.33, times=10) == 2


def test_a_load_on_the_brink_does_not_flap() -> None:
    others = Others(cores=2)
    assert others.look(0.55) == 1
    assert others.look(0.4, times=10) == 1  # free enough to keep a thread, not to get one


def test_one_thread_is_left_however_busy_the_others_are() -> None:
    assert Others(cores=2).look(2.0) == 1
    assert Others(cores=8).look(5.2) == 3


def test_a_quota_is_not_used_up_by_others_on_other_cores() -> None:
    container = Others(cores=4, all_cores=64)
    assert container.look(10.0) == 4
    assert container.look(62.0) == 2


def test_cores_beyond_what_openmp_found_are_left_alone() -> None:
    others = Others(cores=16, most=4)
    assert others.look(0.0, times=5) == 4
    assert others.look(11.0) == 4
    assert others.look(14.0) == 2
    assert others.look(1.0, times=CALM) == 4


def test_a_look_is_not_taken_after_every_update() -> None:
    others = Others(cores=2)
    others.busy = 1.0
    others.time_s = 0.5 * LOOK_S
    others.threads.adapt()
    assert torch.get_num_threads() == 2


def test_a_number_that_was_asked_for_stays() -> None:
    assert Others(cores=4, wanted=3).look(4.0) == 3


def test_a_run_that_must_be_repeatable_does_not_follow() -> None:
    assert Others(cores=4, follow=False).look(4.0) == 4


def test_where_nothing_tells_the_number_stays() -> None:
    assert Others(cores=4).look(None) == 4
