"""The push schedule, counted in physics steps."""

from __future__ import annotations

import numpy as np

from sim.a1.config import PushConfig
from sim.a1.pushes import PushSchedule


def forces(schedule: PushSchedule, calls: int, steps: int) -> list[float]:
    """Size of the force in each physics step."""
    rng = np.random.default_rng(0)
    sizes: list[float] = []
    for _ in range(calls):
        for length, force_n in schedule.split(steps, rng):
            sizes += [0.0 if force_n is None else float(np.linalg.norm(force_n))] * length
    return sizes


def test_disabled_schedule_neither_pushes_nor_draws() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    assert PushSchedule(PushConfig(), 0.002).split(25, rng) == [(25, None)]
    assert rng.bit_generator.state == before


def test_pushes_begin_every_period_and_last_their_duration() -> None:
    # 10 ms steps: a push of 3 steps every 10 steps, the first after one period
    cfg = PushConfig(enabled=True, period_s=0.1, duration_s=0.03)
    sizes = forces(PushSchedule(cfg, 0.01), calls=8, steps=4)
    pushed = [index for index, size in enumerate(sizes) if size > 0]
    assert len(sizes) == 32
    assert pushed == [10, 11, 12, 20, 21, 22, 30, 31]


def test_force_times_duration_is_the_impulse() -> None:
    cfg = PushConfig(
        enabled=True, period_s=0.1, duration_s=0.02, impulse_low_ns=6.0, impulse_high_ns=6.0
    )
    sizes = forces(PushSchedule(cfg, 0.01), calls=1, steps=20)
    np.testing.assert_allclose(sum(sizes) * 0.01, 6.0)


def test_impulses_lie_in_their_range() -> None:
    cfg = PushConfig(enabled=True, period_s=0.05, duration_s=0.01)
    sizes = [size * 0.01 for size in forces(PushSchedule(cfg, 0.01), 100, 5) if size > 0]
    assert len(sizes) > 90
    assert min(sizes) >= 3
    assert max(sizes) <= 15
    assert np.std(sizes) > 1


def test_restart_waits_a_whole_period_again() -> None:
    schedule = PushSchedule(PushConfig(enabled=True, period_s=0.1, duration_s=0.03), 0.01)
    forces(schedule, calls=1, steps=9)
    schedule.restart()
    assert not any(forces(schedule, calls=1, steps=10))
