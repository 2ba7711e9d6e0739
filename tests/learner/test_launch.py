from __future__ import annotations

import pytest

from daydreamer.config import Config, ConfigError, load
from daydreamer.learner.launch import Launch, check_shares, launched


def config(*words: str) -> Config:
    return load(["task=a1_walk", "size=debug", "run=unused", *words])


def test_a_learner_is_alone_unless_torchrun_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for key, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(key, value)  # as some clusters do for every job
    assert launched() == Launch(rank=0, size=1, local_rank=0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert launched() == Launch(rank=3, size=4, local_rank=1)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_equal_shares_are_accepted(size: int) -> None:
    check_shares(config("learner.batch=4"), size)
    check_shares(config("learner.batch=4", "agent.imagination_starts=8"), size)


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("learner.batch=4", r"learner\.batch=4 cannot be .* by 3 processes.*, e\.g\. 6,"),
        ("agent.imagination_starts=10", r"agent\.imagination_starts=10 cannot .*, e\.g\. 12,"),
    ],
)
def test_unequal_shares_are_refused_with_the_next_that_fits(word: str, advice: str) -> None:
    batch = "learner.batch=6" if "starts" in word else "learner.length=8"
    with pytest.raises(ConfigError, match=advice):
        check_shares(config(batch, word), 3)


def test_starts_from_every_row_need_no_share_of_their_own() -> None:
    check_shares(config("learner.batch=6", "learner.length=8", "agent.imagination_starts=50"), 3)
