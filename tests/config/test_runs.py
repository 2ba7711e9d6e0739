"""RUN/config.yaml: what is written, what goes on, what is refused, what two machines must share."""

from __future__ import annotations

from dataclasses import fields
from importlib import metadata
from pathlib import Path

import pytest
import yaml

from daydreamer.agents.config import AgentConfig
from daydreamer.config import ConfigError, differences, fingerprint, load, load_run, open_run, save
from daydreamer.config.runs import POLICY_KEYS

WORDS = ["task=a1_walk", "size=debug", "seed=3", "body.start=standing", "learner.batch=6"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a config."""
    save(load([*WORDS, f"run={tmp_path}"]), tmp_path)
    return tmp_path


def edit(run: Path, **changes: object) -> None:
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


def test_what_was_saved_is_loaded(run: Path) -> None:
    assert load_run(run) == load([*WORDS, f"run={run}"])


def test_the_file_names_versions_and_every_resolved_key(run: Path) -> None:
    content = yaml.safe_load((run / "config.yaml").read_text())
    assert content["versions"]["numpy"] == metadata.version("numpy")
    assert {"python", "platform", "daydreamer", "git_commit"} <= content["versions"].keys()
    assert content["task"]["episode_steps"] == 250
    assert content["body"]["push"]["enabled"] is False
    assert content["agent"]["model_lr"] > 0
    assert [path.name for path in run.iterdir()] == ["config.yaml"]  # no temporary file stays


def test_a_moved_run_knows_its_new_place(
    run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moved = tmp_path_factory.mktemp("moved") / "run"
    run.rename(moved)
    assert load_run(moved).run == str(moved)


def test_a_run_goes_on_with_the_same_words_and_no_difference(run: Path) -> None:
    config, changes = open_run([*WORDS, f"run={run}"])
    assert changes == []
    assert config == load_run(run)


def test_a_run_goes_on_with_fewer_words_and_keeps_its_settings(run: Path) -> None:
    config, changes = open_run([f"run={run}"])
    assert changes == []
    assert (config.learner.batch, config.size, config.seed) == (6, "debug", 3)


def test_a_changed_key_is_reported(run: Path) -> None:
    config, changes = open_run([f"run={run}", "steps=50", "task.target_speed_m_s=0.5"])
    assert changes == ["steps: 36000 -> 50", "task.target_speed_m_s: 0.3 -> 0.5"]
    assert config.steps == 50


def test_another_size_lays_its_values_over_the_run_s(run: Path) -> None:
    config = load_run(run, ["size=paper"])
    assert (config.size, config.agent.deter, config.learner.batch) == ("paper", 256, 32)
    assert config.seed == 3


def test_a_new_seed_reaches_the_body_of_a_saved_run(run: Path) -> None:
    assert load_run(run, ["seed=8"]).body.params.seed == 8  # type: ignore[attr-defined]
    assert load_run(run).body.params.seed == 3  # type: ignore[attr-defined]


def test_choosing_the_same_body_keeps_its_settings(run: Path) -> None:
    assert load_run(run, ["body=twin"]).body.params.start == "standing"  # type: ignore[attr-defined]


def test_a_folder_without_a_run_starts_a_new_one(tmp_path: Path) -> None:
    config, changes = open_run(["task=a1_walk", f"run={tmp_path / 'new'}"])
    assert changes == []
    assert config.run == str(tmp_path / "new")


def test_a_run_of_another_task_is_refused_with_cause_and_cure(run: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"holds task a1_walk, not a1_jump.*Choose another folder"
    ):
        open_run(["task=a1_jump", f"run={run}"])


def test_another_environment_of_the_same_kind_is_refused(tmp_path: Path) -> None:
    save(load(["task=dmc", "task.name=walker_walk"]), tmp_path)
    message = r"holds task dmc_walker_walk, not dmc_cartpole_swingup.*Choose another folder"
    with pytest.raises(ConfigError, match=message):
        open_run([f"run={tmp_path}", "task=dmc", "task.name=cartpole_swingup"])
    assert open_run([f"run={tmp_path}", "task.repeat=4"])[1] == ["task.repeat: 2 -> 4"]


def test_without_a_folder_the_task_s_own_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["task=dmc", "task.name=walker_walk"]
    save(load([*words, "steps=7"]), "runs/dmc_walker_walk")
    assert open_run(words)[0].steps == 7
    assert open_run(["task=dmc"])[0].run == "runs/dmc_cartpole_swingup"


def test_a_run_whose_file_calls_the_option_name_goes_on(run: Path) -> None:
    content = yaml.safe_load((run / "config.yaml").read_text())
    for node in ("task", "body"):
        content[node]["name"] = content[node].pop("option")
    edit(run, task=content["task"], body=content["body"])
    assert load_run(run) == load([*WORDS, f"run={run}"])


def test_a_task_s_own_name_is_not_taken_for_the_option(tmp_path: Path) -> None:
    save(load(["task=dmc", "task.name=walker_walk"]), tmp_path)
    content = yaml.safe_load((tmp_path / "config.yaml").read_text())
    del content["task"]["option"]
    edit(tmp_path, task=content["task"])
    with pytest.raises(ConfigError, match=r"lacks 'option': it is damaged"):
        load_run(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"is no run folder: it has no config\.yaml\. Give run=DIR"
    ):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "cannot be read as YAML"),
        ("", "has no task and body: it is damaged"),
        ("- 1\n", "has no task and body: it is damaged"),
        ("task: {name: a1_walk}\nbody: {}\n", "it is damaged"),
        ("\x00", "cannot be read as YAML"),
    ],
)
def test_a_damaged_file_is_refused(run: Path, text: str, message: str) -> None:
    (run / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_run(run)


def test_a_key_of_another_version_is_refused_by_name(run: Path) -> None:
    edit(run, sede=3)
    with pytest.raises(ConfigError, match=r"unknown key sede\. Did you mean .*seed"):
        load_run(run)


def test_differences_are_sorted_and_leave_the_folder_out() -> None:
    old = load(["task=a1_walk", "run=a"])
    new = load(["task=a1_walk", "run=b", "seed=1", "learner.batch=2", "body.seed=0"])
    assert differences(old, new) == [f"learner.batch: {old.learner.batch} -> 2", "seed: 0 -> 1"]
    assert differences(old, old) == []


def test_fingerprint_ignores_what_each_side_may_choose_alone() -> None:
    ground = fingerprint(load(["task=a1_walk"]))
    alone = [
        "seed=4",
        "learner.batch=3",
        "agent.model_lr=1e-3",
        "agent.decoder_gradient=false",
        "agent.reinforce_share=0.5",
        "id=b",
        "body.start=standing",
        "run=x",
    ]
    assert fingerprint(load(["task=a1_walk", *alone])) == ground


@pytest.mark.parametrize(
    "word",
    [
        "agent.deter=99",
        "agent.latents=gaussian",
        "agent.norm=none",
        "agent.gru_norm=false",
        "task.episode_steps=9",
        "mode=lockstep",
        "size=paper",
    ],
)
def test_fingerprint_sees_what_both_sides_must_share(word: str) -> None:
    ground, keys = fingerprint(load(["task=a1_walk"]))
    other, other_keys = fingerprint(load(["task=a1_walk", word]))
    assert ground != other
    assert keys != other_keys


def test_fingerprint_is_flat_and_names_the_columns_of_a_row() -> None:
    _, keys = fingerprint(load(["task=a1_walk"]))
    assert keys["rows.vector"] == "float32[17]"
    assert keys["rows.action"] == "float32[12]"
    assert all(isinstance(value, bool | int | float | str | None) for value in keys.values())


def test_the_policy_s_keys_are_the_agent_s() -> None:
    assert set(POLICY_KEYS) <= {field.name for field in fields(AgentConfig)}


def test_a_trained_run_keeps_its_network_and_its_file(run: Path) -> None:
    before = (run / "config.yaml").read_bytes()
    (run / "learner" / "checkpoints" / "latest").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"another agent.*agent\.deter: 16 -> 256.*Leave these"):
        open_run([f"run={run}", "size=small"])
    assert (run / "config.yaml").read_bytes() == before
    config, changes = open_run([f"run={run}", "agent.model_lr=0.5"])  # no shape depends on it
    assert config.agent.model_lr == 0.5
    assert len(changes) == 1


@pytest.mark.parametrize(
    "word", ["latents=gaussian", "norm=none", "gru_norm=false", "initial=zeros"]
)
def test_a_trained_run_keeps_the_switches_that_shape_its_weights(run: Path, word: str) -> None:
    (run / "learner" / "checkpoints" / "latest").mkdir(parents=True)
    with pytest.raises(ConfigError, match=rf"another agent.*agent\.{word.split('=')[0]}: "):
        open_run([f"run={run}", f"agent.{word}"])


def test_a_run_from_before_a_switch_has_its_default(run: Path) -> None:
    content = yaml.safe_load((run / "config.yaml").read_text())
    for key in ("latents", "norm", "gru_norm", "reinforce_share"):
        del content["agent"][key]
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    assert load_run(run) == load([*WORDS, f"run={run}"])


def test_a_run_without_checkpoints_may_still_change_its_network(run: Path) -> None:
    config, changes = open_run([f"run={run}", "agent.deter=24"])
    assert config.agent.deter == 24
    assert changes == ["agent.deter: 16 -> 24"]
