"""What a competition found, as Markdown. No figure in a document is typed by hand."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from daydreamer.bench.peers.contestants import OURS

Plain = Mapping[str, Any]  # Results as JSON brings it back


def ratios(results: Plain, ours: str, theirs: str) -> list[float]:
    """Their seconds over our seconds, one entry for each round in which both were undisturbed."""
    clean: dict[str, dict[int, float]] = {ours: {}, theirs: {}}
    for step in results["steps"]:
        if step["against"] == theirs and step["is_clean"] and step["contestant"] in clean:
            clean[step["contestant"]][step["round"]] = step["wall_s"]
    both = sorted(clean[ours].keys() & clean[theirs].keys())
    return [clean[theirs][number] / clean[ours][number] for number in both]


def best_settings(results: Plain) -> dict[str, str]:
    """For each peer the contestant with the smallest median, the fastest peer first."""
    best: dict[str, tuple[float, str]] = {}
    for name, entry in results["contestants"].items():
        seconds = _seconds(results, name)
        if entry["peer"] != OURS and seconds:
            found = (statistics.median(seconds), name)
            best[entry["peer"]] = min(best.get(entry["peer"], found), found)
    return {peer: name for peer, (_, name) in sorted(best.items(), key=lambda item: item[1])}


def table(results: Plain) -> str:
    """Two tables: each contestant's update, and our ratio to each peer, with what they rest on."""
    contestants = results["contestants"]
    ours = [name for name, entry in contestants.items() if entry["peer"] == OURS]
    best = best_settings(results)
    lines = [
        "| " + " | ".join(["contestant", "setting", *_COLUMNS]) + " |",
        "|---" * (2 + len(_COLUMNS)) + "|",
    ]
    lines += [_row(results, name, entry) for name, entry in contestants.items()]
    titles = [f"{OURS} ({contestants[name]['setting']})" for name in ours]
    lines += [
        "",
        "| times as fast as | " + " | ".join(titles) + " |",
        "|---" * (1 + len(ours)) + "|",
    ]
    for name, entry in contestants.items():
        if entry["peer"] == OURS:
            continue
        roles = ["its default"] * entry["is_default"] + ["its best"] * (name in best.values())
        if [*best.values()][:1] == [name]:
            roles.append("**the fastest**")
        title = f"{entry['peer']}, {entry['setting']}"
        if roles:
            title += f" ({', '.join(roles)})"
        cells = [_spread(ratios(results, own, name), "x") for own in ours]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _conditions(results)])


def fill(text: str, results: Plain) -> str:
    """`text` with the table between its two marks, `<!-- W1 -->` and `<!-- /W1 -->`, made anew.

    Raises ValueError when a mark is missing.
    """
    name = results["workload"]
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(
            f"the document has no {start} ... {end} to put the table between; add both"
        )
    return f"{before}{start}\n{table(results)}\n{end}{after}"


_COLUMNS = ("update, s", "processor, s", "peak memory", "policy step p50 / p99, ms")


def _row(results: Plain, name: str, entry: Plain) -> str:
    seconds = _seconds(results, name)
    spent = [s["cpu_s"] for s in _clean(results["steps"], name)]
    memory = f"{entry['peak_mib'] / 1024:.1f} GiB" if entry["peak_mib"] else "-"
    acts = list(_clean(results["acts"], name))
    policy = "-"
    if acts:
        p50, p99 = (statistics.median(a[key] for a in acts) for key in ("p50_ms", "p99_ms"))
        policy = f"{p50:.2f} / {p99:.2f}"
    update = _spread(seconds, "")
    if entry["failure"]:
        reason = entry["failure"].splitlines()[0].removeprefix(f"{name} ")
        reason = reason.removesuffix(". Its last words:")
        update = f"{update}; then it {reason}" if seconds else reason
    processor = f"{statistics.median(spent):.2f}" if spent else "-"
    cells = [entry["peer"], entry["setting"], update, processor, memory, policy]
    return "| " + " | ".join(cells) + " |"


def _conditions(results: Plain) -> str:
    rules, machine = results["rules"], results["machine"]
    disturbed = sum(not step["is_clean"] for step in results["steps"])
    packages = dict(
        item for entry in results["contestants"].values() for item in entry["versions"].items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))
    return (
        f"Medians of undisturbed steps [smallest to largest], n steps. {machine['cpu']}, "
        f"{machine['cores']} cores, {rules['threads']} threads each (policy steps: one). "
        f"{versions}. "
        f"A step counts when others took at most {100 * rules['max_others']:.0f} % of the cores: "
        f"{disturbed} of {len(results['steps'])} did not."
    )


def _seconds(results: Plain, name: str) -> list[float]:
    return [step["wall_s"] for step in _clean(results["steps"], name)]


def _clean(steps: Sequence[Plain], name: str) -> Iterable[Plain]:
    return (step for step in steps if step["contestant"] == name and step["is_clean"])


def _spread(values: Sequence[float], unit: str) -> str:
    if not values:
        return "-"
    median, low, high = statistics.median(values), min(values), max(values)
    return f"{median:.2f}{unit} [{low:.2f} to {high:.2f}] n{len(values)}"
