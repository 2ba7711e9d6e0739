"""The competition with peers: real processes that pretend, and our own on a tiny agent."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from daydreamer.bench.peers import rounds
from daydreamer.bench.peers import worker as worker_module
from daydreamer.bench.peers.__main__ import main
from daydreamer.bench.peers.contestants import OURS, Contestant, catalogue, check_words, pick, sizes
from daydreamer.bench.peers.rounds import Results, Rules, compete
from daydreamer.bench.peers.sheeprl_worker import overrides
from daydreamer.bench.peers.worker import Worker, WorkerError
from daydreamer.bench.workloads import choose
from daydreamer.config.errors import ConfigError
from daydreamer.cores import available_cores

LIMIT_S = 30.0

FAKE = """
import os, subprocess, sys, time
from daydreamer.bench.peers.serving import serve

class Fake:
    versions = {"fake": "1.0"}
    def __init__(self, request):
        self.request, self.updates = request, 0
        if request.get("child"):
            subprocess.Popen(["sleep", "60"])
    def update(self):
        self.updates += 1
        print("libraries print")
        os.write(1, b"and compilers too\\n")
        if self.updates == self.request.get("dies_at"):
            sys.exit("out of cheese")
        if self.updates == self.request.get("hangs_at"):
            time.sleep(60)
        end_s = time.process_time() + self.request.get("works_s", 0)
        while time.process_time() < end_s:
            pass
    def act(self):
        assert (self.request["threads"], os.environ["OMP_NUM_THREADS"]) == (1, "1")

serve(Fake)
"""


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "END_S", 1.0)


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Contestant]:
    """Makes a contestant that pretends: fake(name, dies_at=, hangs_at=, works_s=, child=)."""
    script = tmp_path / "fake_worker.py"
    script.write_text(FAKE)

    def make(name: str, **how: object) -> Contestant:
        peer = OURS if name.startswith("ours") else name
        build = {"do": "build", **how}
        return Contestant(name, peer, "plain", True, (sys.executable, str(script)), build)

    return make


@pytest.fixture
def start(fake: Callable[..., Contestant]) -> Iterator[Callable[..., Worker]]:
    """Starts such a contestant, and closes it in the end."""
    workers = []

    def run(name: str, **how: object) -> Worker:
        workers.append(Worker(fake(name, **how), threads=1))
        return workers[-1]

    yield run
    for worker in workers:
        worker.close()


class Load:
    """In place of OtherLoad: others' cores as a test says, and what counted as our own."""

    cores = available_cores()

    says: list[float]
    own_s: list[float]

    def __init__(self, *, own_s: Callable[[], float] = time.process_time) -> None:
        self._own_s, self._start_s = own_s, own_s()

    def look(self) -> float:
        Load.own_s.append(self._own_s() - self._start_s)
        return Load.says.pop(0) if Load.says else 0.0


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> type[Load]:
    Load.says, Load.own_s = [], []
    monkeypatch.setattr(rounds, "OtherLoad", Load)
    monkeypatch.setattr(rounds, "QUIET_LOOK_S", 0.0)
    return Load


def run(contestants: list[Contestant], **rules: Any) -> Results:
    """A competition of these; by default one round, without policies."""
    few = {"rounds": 1, "tries": 2, "warm_updates": 1, "act_steps": 0, "warm_limit_s": LIMIT_S}
    results = Results("W1", {"cpu": "none", "cores": 2}, Rules(**{**few, **rules}))
    compete(contestants, results, say=lambda line: None, save=lambda so_far: None)
    return results


def test_a_contestant_answers_whatever_its_libraries_print(start: Callable[..., Worker]) -> None:
    worker = start("peer")
    assert worker.build(LIMIT_S)["versions"] == {"fake": "1.0"}
    update = worker.ask({"do": "update"}, LIMIT_S)
    assert update["wall_s"] > 0
    assert update["peak_mib"] > 1
    act = worker.ask({"do": "act", "steps": 5}, LIMIT_S)
    assert 0 < act["p50_ms"] <= act["p99_ms"]
    assert worker.cpu_s == act["cpu_s"] >= update["cpu_s"]


def test_a_dead_contestant_is_reported_with_its_last_words(start: Callable[..., Worker]) -> None:
    worker = start("peer", dies_at=1)
    worker.build(LIMIT_S)
    with pytest.raises(WorkerError, match=r"peer died.*\n(.*\n)*out of cheese") as caught:
        worker.ask({"do": "update"}, LIMIT_S)
    assert caught.value.name == "peer"


def test_a_silent_contestant_is_given_up(start: Callable[..., Worker]) -> None:
    worker = start("peer", hangs_at=1)
    worker.build(LIMIT_S)
    with pytest.raises(WorkerError, match="did not answer within 0 s"):
        worker.ask({"do": "update"}, 0.2)


def test_an_absent_environment_is_answered_with_how_to_make_it() -> None:
    absent = Contestant("dv2", "sheeprl", "fp32", True, ("/nowhere/bin/python",), {})
    with pytest.raises(WorkerError, match=r"dv2 cannot be started.*make bench-peers"):
        Worker(absent, threads=1)


def test_closing_leaves_no_process_behind(fake: Callable[..., Contestant]) -> None:
    worker = Worker(fake("peer", child=True), threads=1)
    try:
        worker.build(LIMIT_S)
        mine = [p for p in psutil.Process().children(recursive=True) if p.is_running()]
        assert len(mine) >= 2  # the worker and its child
    finally:
        worker.close()
    _, alive = psutil.wait_procs(mine, timeout=10)
    assert alive == []


def test_contestants_take_turns_and_each_goes_first_once(
    fake: Callable[..., Contestant], load: type[Load]
) -> None:
    results = run([fake("ours"), fake("ours-fp32"), fake("a"), fake("b")], rounds=3)
    for peer in "ab":
        order = [step.contestant for step in results.steps if step.against == peer]
        first, second, third = order[:3], order[3:6], order[6:]
        assert first == ["ours", "ours-fp32", peer]
        assert second == ["ours-fp32", peer, "ours"]
        assert third == [peer, "ours", "ours-fp32"]


def test_a_disturbed_step_is_repeated_and_does_not_count(
    fake: Callable[..., Contestant], load: type[Load]
) -> None:
    load.says = [2.0]  # both cores, during the first step
    results = run([fake("ours"), fake("peer")])
    assert [(s.contestant, s.is_clean) for s in results.steps] == [
        ("ours", False),
        ("ours", True),
        ("peer", True),
    ]


def test_on_a_busy_machine_repeats_end(fake: Callable[..., Contestant], load: type[Load]) -> None:
    load.says = [2.0] * 100
    results = run([fake("ours"), fake("peer")], tries=2, quiet_wait_s=0.0)
    assert [(s.contestant, s.is_clean) for s in results.steps] == [
        ("ours", False),
        ("ours", False),
        ("peer", False),
        ("peer", False),
    ]


def test_the_work_of_the_contestant_whose_turn_it_is_is_not_others(
    fake: Callable[..., Contestant], load: type[Load]
) -> None:
    results = run([fake("ours"), fake("peer", works_s=0.3)])
    idle, busy = load.own_s
    assert busy >= 0.3
    assert idle < busy
    assert results.steps[1].cpu_s >= 0.3


def test_a_peer_that_fails_is_recorded_and_the_next_one_comes(
    fake: Callable[..., Contestant], load: type[Load]
) -> None:
    results = run([fake("ours"), fake("bad", dies_at=2), fake("good")])
    assert "out of cheese" in results.contestants["bad"].failure
    assert [s.contestant for s in results.steps] == ["ours", "ours", "good"]


def test_a_peer_that_does_not_get_ready_in_time_is_recorded(
    fake: Callable[..., Contestant], load: type[Load]
) -> None:
    results = run([fake("ours"), fake("slow", hangs_at=1)], warm_limit_s=3.0)
    assert "slow did not answer within" in results.contestants["slow"].failure
    assert results.steps == []


def test_without_ours_there_is_nothing_to_compare(fake: Callable[..., Contestant]) -> None:
    with pytest.raises(WorkerError, match="ours died"):
        run([fake("ours", dies_at=1), fake("peer")])


def test_policy_steps_are_timed_for_everybody_on_one_thread(
    fake: Callable[..., Contestant], load: type[Load]
) -> None:
    results = run([fake("ours"), fake("peer")], act_steps=10)
    assert [act.contestant for act in results.acts] == ["ours", "peer"]
    assert all(act.p50_ms is not None and act.p99_ms is not None for act in results.acts)


def test_results_survive_json(fake: Callable[..., Contestant], load: type[Load]) -> None:
    results = run([fake("ours"), fake("peer")])
    plain = json.loads(json.dumps(dataclasses.asdict(results)))
    assert plain["steps"][0]["contestant"] == "ours"
    assert plain["contestants"]["peer"]["versions"] == {"fake": "1.0"}


def test_peers_are_told_the_sizes_of_the_workload() -> None:
    (workload,) = choose(["workload=W2", "agent.horizon=7"])
    with pytest.raises(ConfigError, match=r"agent\.imagination_starts: peers have no such setting"):
        check_words(["agent.imagination_starts=64"])
    check_words(["agent.horizon=7", "agent.precision=fp32"])
    found = catalogue(workload, ["agent.horizon=7"], Path("peers/bin/python"))
    told = found["dv3-bf16"].build["sizes"]
    assert isinstance(told, dict)
    assert told["image"] == [64, 64, 3]
    assert (told["vector"], told["action"], told["deter"]) == (20, 7, 512)
    assert (told["cnn_depth"], told["horizon"], told["batch"]) == (48, 7, 32)
    assert found["ours-fp32"].build["words"] == ["agent.horizon=7", "agent.precision=fp32"]


def test_sheeprl_gets_the_parts_of_the_workload_that_it_leaves_out_by_default() -> None:
    (workload,) = choose(["workload=W1"])
    words = overrides("dreamer_v2", sizes(workload), {"precision": "bf16-mixed", "compile": True})
    assert "algo.layer_norm=True" in words
    assert "algo.world_model.use_continues=True" in words
    assert "algo.world_model.recurrent_model.recurrent_state_size=256" in words
    assert "algo.cnn_keys.encoder=[]" in words
    assert "fabric.precision=bf16-mixed" in words
    assert "algo.compile.enabled=True" in words
    assert not any("layer_norm" in w for w in overrides("dreamer_v3", sizes(workload), {}))


def test_unknown_and_lonely_contestants_are_refused() -> None:
    (workload,) = choose(["workload=W1"])
    found = catalogue(workload, [], Path("peers/bin/python"))
    with pytest.raises(ConfigError, match="Did you mean dv3"):
        pick(found, ["ours", "dv33"])
    with pytest.raises(ConfigError, match="name one of ours, ours-fp32 and a peer"):
        pick(found, ["ours", "ours-fp32"])
    assert [c.name for c in pick(found, ["dv2", "ours"])] == ["ours", "dv2"]


def test_words_that_nobody_knows_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["round=3"]) == 1
    assert "Did you mean rounds?" in capsys.readouterr().err
    assert main(["rounds=0"]) == 1
    assert "choose at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_our_worker_updates_and_acts() -> None:
    words = ["stoch=4", "classes=4", "mlp_layers=1", "mlp_units=16", "horizon=3", "deter=16"]
    words = [f"agent.{word}" for word in words]
    (workload,) = choose(["workload=W1-small", *words])
    ours = catalogue(workload, words, Path("peers/bin/python"))["ours-fp32"]
    worker = Worker(ours, threads=1)
    try:
        assert "torch" in worker.build(100)["versions"]
        assert worker.ask({"do": "update"}, 100)["wall_s"] > 0
        assert worker.ask({"do": "act", "steps": 3}, 100)["p99_ms"] > 0
    finally:
        worker.close()


def test_a_worker_ends_with_its_orchestrator(fake: Callable[..., Contestant]) -> None:
    contestant = fake("peer")
    code = (
        "import sys, time; from pathlib import Path;"
        "from daydreamer.bench.peers.contestants import Contestant;"
        "from daydreamer.bench.peers.worker import Worker;"
        f"w = Worker(Contestant('p', 'p', '', True, {contestant.command!r}, {{'do': 'build'}}), 1);"
        "w.build(30);"
        "print(w._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait(10)
    assert psutil.wait_procs([worker], timeout=30)[1] == []
    assert not os.path.exists(f"/proc/{worker.pid}")  # noqa: PTH110
