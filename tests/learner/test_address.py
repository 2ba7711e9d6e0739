from __future__ import annotations

import os
from pathlib import Path

import pytest

from daydreamer.learner.address import FILE, address_of, announced

ADDRESS = "tcp://127.0.0.1:23117"


def test_a_learner_says_where_it_listens_until_it_ends(tmp_path: Path) -> None:
    assert address_of(tmp_path) is None
    with announced(tmp_path, ADDRESS):
        assert address_of(tmp_path) == address_of(tmp_path, os.getpid()) == ADDRESS
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_learner_left_is_not_taken_for_a_live_one(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f'{{"address": "{ADDRESS}", "pid": 4}}')
    assert address_of(tmp_path, 5) is None
    assert address_of(tmp_path) == ADDRESS


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", '{"address": '])
def test_a_damaged_file_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert address_of(tmp_path) is None
