"""Tables of a competition, worked by hand; and documents that show what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from daydreamer.bench.peers.__main__ import main
from daydreamer.bench.peers.tables import best_settings, fill, ratios, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "results" / "peers.md"
MEASURED = sorted((DOCUMENT.parent / "peers").glob("*.json"))


def entry(peer: str, setting: str, is_default: bool, failure: str = "") -> dict[str, Any]:
    return {
        "peer": peer,
        "setting": setting,
        "is_default": is_default,
        "versions": {peer: "1.0"},
        "build_s": 1.0,
        "warm_s": [1.0],
        "peak_mib": 1536.0,
        "failure": failure,
    }


def step(contestant: str, against: str, number: int, wall_s: float, clean: bool = True) -> Any:
    return {
        "contestant": contestant,
        "against": against,
        "round": number,
        "wall_s": wall_s,
        "cpu_s": 2 * wall_s,
        "others": 0.0 if clean else 0.5,
        "is_clean": clean,
        "p50_ms": None,
        "p99_ms": None,
    }


RESULTS: dict[str, Any] = {
    "workload": "W1",
    "machine": {"cpu": "a processor", "cores": 2},
    "rules": {"threads": 2, "max_others": 0.06},
    "contestants": {
        "ours": entry("daydreamer", "as shipped", True),
        "a": entry("A", "fp32", True),
        "a-bf16": entry("A", "bf16", False),
        "b": entry("B", "fp32", True, "b died. Its last words:\nout of cheese"),
    },
    "steps": [
        # Against a: 4/1, 6/2; the third round was disturbed, the repeat of its other half was not.
        step("ours", "a", 0, 1.0),
        step("a", "a", 0, 4.0),
        step("a", "a", 1, 6.0),
        step("ours", "a", 1, 9.0, clean=False),
        step("ours", "a", 1, 2.0),
        step("ours", "a", 2, 1.0),
        step("a", "a", 2, 50.0, clean=False),
        # Against a-bf16: 3/1.5; ours of other rounds does not pair.
        step("ours", "a-bf16", 0, 1.5),
        step("a-bf16", "a-bf16", 0, 3.0),
    ],
    "acts": [{**step("ours", "a", 0, 1.0), "p50_ms": 0.5, "p99_ms": 1.25}],
}


def test_ratios_pair_the_undisturbed_steps_of_a_round() -> None:
    assert ratios(RESULTS, "ours", "a") == [4.0, 3.0]
    assert ratios(RESULTS, "ours", "a-bf16") == [2.0]
    assert ratios(RESULTS, "ours", "b") == []


def test_the_best_setting_of_a_peer_has_the_smallest_median() -> None:
    assert best_settings(RESULTS) == {"A": "a-bf16"}


def test_the_table_tells_spread_number_and_failure() -> None:
    lines = table(RESULTS).splitlines()
    assert lines[2] == (
        "| daydreamer | as shipped | 1.25 [1.00 to 2.00] n4 | 2.50 | 1.5 GiB | 0.50 / 1.25 |"
    )
    assert "| B | fp32 | died | - | 1.5 GiB | - |" in lines
    assert "| A, fp32 (its default) | 3.50x [3.00 to 4.00] n2 |" in lines
    assert "| A, bf16 (its best, **the fastest**) | 2.00x [2.00 to 2.00] n1 |" in lines
    assert "| B, fp32 (its default) | - |" in lines
    assert "2 of 9 did not." in lines[-1]


def test_a_table_replaces_the_one_between_its_marks() -> None:
    text = "before\n<!-- W1 -->\nold\n<!-- /W1 -->\nafter\n"
    filled = fill(text, RESULTS)
    assert filled == f"before\n<!-- W1 -->\n{table(RESULTS)}\n<!-- /W1 -->\nafter\n"
    assert fill(filled, RESULTS) == filled
    with pytest.raises(ValueError, match="add both"):
        fill("no marks", RESULTS)


def test_an_earlier_run_is_shown_and_written_into_a_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored, document = tmp_path / "W1.json", tmp_path / "peers.md"
    stored.write_text(json.dumps(RESULTS))
    document.write_text("<!-- W1 -->\n<!-- /W1 -->\n")
    assert main([f"show={stored}", f"doc={document}"]) == 0
    assert table(RESULTS) in capsys.readouterr().out
    assert table(RESULTS) in document.read_text()


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_the_document_shows_what_was_measured(path: Path) -> None:
    assert table(json.loads(path.read_text())) in DOCUMENT.read_text(encoding="utf-8")
