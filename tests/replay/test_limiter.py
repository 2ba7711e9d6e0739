from __future__ import annotations

import math

import pytest

from daydreamer.replay.limiter import ReplayRatioLimiter


def test_nothing_is_allowed_before_the_prefill() -> None:
    limiter = ReplayRatioLimiter(ratio=64, prefill_rows=100, batch_rows=32, pretrain=5)
    limiter.rows_collected(99)
    assert limiter.updates_allowed(0) == 0


def test_prefill_rows_make_no_debt_but_pretraining_is_granted() -> None:
    limiter = ReplayRatioLimiter(ratio=64, prefill_rows=100, batch_rows=32, pretrain=5)
    limiter.rows_collected(100)
    assert limiter.updates_allowed(0) == 5
    assert limiter.updates_allowed(5) == 0


def test_rows_pay_for_updates_at_the_ratio() -> None:
    # 64 rows trained on per row, 1024 rows an update: an update every 16 rows.
    limiter = ReplayRatioLimiter(ratio=64, prefill_rows=100, batch_rows=1024)
    limiter.rows_collected(115)
    assert limiter.updates_allowed(0) == 0
    limiter.rows_collected(1)
    assert limiter.updates_allowed(0) == 1
    limiter.rows_collected(160)
    assert limiter.updates_allowed(3) == 8


def test_rounding_of_the_ratio_withholds_no_update() -> None:
    limiter = ReplayRatioLimiter(ratio=0.1, prefill_rows=0, batch_rows=1)
    allowed = []
    for _ in range(1000):
        limiter.rows_collected(10)
        allowed.append(limiter.updates_allowed(0))
    assert allowed == list(range(1, 1001))


def test_more_updates_than_paid_for_are_never_a_negative_allowance() -> None:
    limiter = ReplayRatioLimiter(ratio=1, prefill_rows=0, batch_rows=10)
    limiter.rows_collected(20)
    assert limiter.updates_allowed(7) == 0


def test_infinite_ratio_runs_freely_after_the_prefill_and_never_without_rows() -> None:
    limiter = ReplayRatioLimiter(ratio=math.inf, prefill_rows=0, batch_rows=10)
    assert limiter.updates_allowed(0) == 0
    limiter.rows_collected(1)
    assert limiter.updates_allowed(10**9) > 10**9


def test_account_goes_on_after_a_restart() -> None:
    before = ReplayRatioLimiter(ratio=2, prefill_rows=10, batch_rows=4)
    before.rows_collected(30)
    after = ReplayRatioLimiter(ratio=2, prefill_rows=10, batch_rows=4)
    after.load_state_dict(before.state_dict())
    assert after.updates_allowed(3) == before.updates_allowed(3) == 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"ratio": 0.0},
        {"ratio": math.nan},
        {"prefill_rows": -1},
        {"batch_rows": 0},
        {"pretrain": -1},
        {"dream_share": -0.1},
        {"dream_share": math.inf},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    settings = {"ratio": 1.0, "prefill_rows": 0, "batch_rows": 1, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ReplayRatioLimiter(**settings)  # type: ignore[arg-type]


def test_rows_ahead_counts_what_waits_for_updates() -> None:
    # ratio 4, batches of 32 rows: one update pays for 8 rows
    limiter = ReplayRatioLimiter(4, prefill_rows=100, batch_rows=32, pretrain=10)
    assert limiter.rows_ahead(0) == -100
    limiter.rows_collected(143)
    assert limiter.rows_ahead(0) == 8 * (10 + 5)
    assert limiter.rows_ahead(14) == 8
    assert limiter.rows_ahead(15) == 0  # three rows more are there, but pay for no whole update
    assert limiter.updates_allowed(15) == 0


def test_a_free_running_learner_is_never_behind() -> None:
    limiter = ReplayRatioLimiter(math.inf, prefill_rows=10, batch_rows=32)
    assert limiter.rows_ahead(0) == -10
    limiter.rows_collected(1_000_000)
    assert limiter.rows_ahead(0) == 0


def make_dreaming_limiter() -> ReplayRatioLimiter:
    """10 updates of pretraining, then one every 8 rows: 20 are earned by 160 rows."""
    limiter = ReplayRatioLimiter(4, prefill_rows=100, batch_rows=32, pretrain=10, dream_share=0.5)
    limiter.rows_collected(100 + 160)
    return limiter


def test_dreams_begin_where_paid_updates_end_and_stop_at_their_share() -> None:
    limiter = make_dreaming_limiter()
    assert limiter.dreams_allowed(29) == 0  # one paid for is left
    assert limiter.dreams_allowed(30) == 10  # half of the 20 earned; pretraining earns none
    for done in range(30, 40):
        assert limiter.dreams_allowed(done) == 40 - done
        limiter.dreamed += 1
    assert limiter.dreams_allowed(40) == 0
    # (40 - 10) updates of 32 rows on 160 rows: 6 = (1 + 0.5) * 4
    assert (40 - limiter.pretrain) * 32 / 160 == (1 + limiter.dream_share) * limiter.ratio


def test_rows_do_not_pay_back_what_was_dreamed() -> None:
    limiter = make_dreaming_limiter()
    limiter.dreamed = 10
    assert limiter.updates_allowed(40) == 0
    limiter.rows_collected(8)
    assert limiter.updates_allowed(40) == 1
    assert limiter.rows_ahead(40) == 8
    limiter.rows_collected(8)
    assert limiter.updates_allowed(40) == 2
    assert limiter.dreams_allowed(42) == 1  # half of 22, less the 10


def test_nothing_is_dreamed_before_the_prefill_or_beyond_an_infinite_ratio() -> None:
    early = ReplayRatioLimiter(4, prefill_rows=100, batch_rows=32, dream_share=0.5)
    early.rows_collected(99)
    assert early.dreams_allowed(0) == 0
    free = ReplayRatioLimiter(math.inf, prefill_rows=0, batch_rows=32, dream_share=0.5)
    free.rows_collected(1000)
    assert free.dreams_allowed(10) == 0
    never = ReplayRatioLimiter(4, prefill_rows=0, batch_rows=32)
    never.rows_collected(160)
    assert never.dreams_allowed(20) == 0


def test_updates_of_a_higher_ratio_before_count_against_the_dreams() -> None:
    limiter = make_dreaming_limiter()
    assert limiter.dreams_allowed(37) == 3  # 30 are paid for, 40 are the bound
    assert limiter.dreams_allowed(41) == 0


def test_dreams_are_part_of_the_account_and_older_accounts_have_none() -> None:
    before = make_dreaming_limiter()
    before.dreamed = 7
    after = make_dreaming_limiter()
    after.load_state_dict(before.state_dict())
    assert (after.dreamed, after.dreams_allowed(37)) == (7, 3)
    after.load_state_dict({"rows": 260})
    assert after.dreamed == 0
