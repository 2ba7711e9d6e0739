"""Words of a command line to a Config: groups, values, layers, refusals."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from daydreamer.config import ConfigError, load, load_run, save
from daydreamer.config.groups import options, read_option, resolve_body
from daydreamer.config.loading import _lay_over
from robots.base import RobotError, Task


def every_choice() -> list[tuple[str, str, str]]:
    """(task, body alias, size) of all there is."""
    return [
        (task, body, size)
        for task in options("task")
        for body, size in itertools.product(read_option("task", task)["bodies"], options("size"))
    ]


@pytest.mark.parametrize(("task", "body", "size"), every_choice())
def test_every_config_composes(task: str, body: str, size: str) -> None:
    config = load([f"task={task}", f"body={body}", f"size={size}"])
    assert (config.task.option, config.size) == (task, size)
    try:
        built = config.task.build()
    except RobotError as error:
        if re.search("not installed|needs OpenGL", str(error)):
            pytest.skip(str(error))
        raise
    assert isinstance(built, Task)
    assert built.name == task
    assert any(spec.is_image for spec in built.observations.values()) == config.task.image


@pytest.mark.parametrize("group", ["agent", "learner", "actor", "wire"])
def test_every_option_of_the_other_groups_composes(group: str) -> None:
    for option in options(group):
        load(["task=a1_walk", f"{group}={option}"])


def test_every_body_belongs_to_a_task() -> None:
    named = {
        body for task in options("task") for body in read_option("task", task)["bodies"].values()
    }
    assert named == set(options("body"))


def test_paper_is_daydreamer_s_own() -> None:
    config = load(["task=a1_walk", "size=paper"])
    agent, learner = config.agent, config.learner
    assert (agent.deter, agent.units, agent.stoch, agent.classes) == (256, 256, 32, 32)
    assert (agent.mlp_layers, agent.mlp_units, agent.horizon) == (4, 512, 15)
    assert (learner.batch, learner.length) == (32, 32)


def test_paper_is_wider_for_tasks_with_images() -> None:
    from daydreamer.config.loading import _size_layer

    layer = _size_layer(read_option("size", "paper"), {"image": True})
    assert (layer["agent"]["deter"], layer["agent"]["units"]) == (512, 512)
    assert layer["agent"]["stoch"] == 32


def test_key_value_words_win_over_size_and_groups() -> None:
    config = load(["learner.batch=5", "agent.deter=20", "task=a1_walk", "size=debug"])
    assert (config.learner.batch, config.agent.deter) == (5, 20)
    assert config.learner.length == 8  # size=debug


def test_task_and_body_keys_reach_their_dataclasses() -> None:
    config = load(
        ["task=a1_walk", "task.episode_steps=500", "body.start=standing", "body.push.period_s=4"]
    )
    assert getattr(config.task.params, "episode_steps") == 500  # noqa: B009
    assert config.body.params.start == "standing"  # type: ignore[attr-defined]
    assert config.body.params.push.period_s == 4.0  # type: ignore[attr-defined]


def test_a_twin_is_not_held_to_real_time_unless_asked() -> None:
    assert load(["task=a1_walk"]).actor.realtime is False
    assert load(["task=a1_walk", "actor.realtime=true"]).actor.realtime is True


def test_the_body_follows_the_run_s_seed_unless_it_has_its_own() -> None:
    assert load(["task=a1_walk", "seed=5"]).body.params.seed == 5  # type: ignore[attr-defined]
    own = load(["task=a1_walk", "seed=5", "body.seed=9"])
    assert own.body.params.seed == 9  # type: ignore[attr-defined]


def test_short_names_stand_for_their_keys() -> None:
    config = load(
        ["task=a1_walk", "bind=tcp://*:*", "insecure=true", "id=007", "learner=tcp://lab:99"]
    )
    assert (config.learner.bind, config.learner.insecure) == ("tcp://*:*", True)
    assert (config.actor.id, config.actor.learner) == ("007", "tcp://lab:99")


@pytest.mark.parametrize("path", ["runs/a b", "runs/a=1,b=[2]", "runs/été", "'quoted'"])
def test_text_is_taken_as_it_stands(path: str) -> None:
    assert load(["task=a1_walk", f"run={path}"]).run == path.strip("'")


def test_a_run_s_folder_has_a_name_by_default_and_knows_home() -> None:
    assert load(["task=a1_walk"]).run == "runs/a1_walk"
    assert load(["task=a1_walk", "run=~/walks"]).run == str(Path.home() / "walks")


@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["task=dmc"], "runs/dmc_cartpole_swingup"),
        (["task=dmc", "task.name=walker_walk"], "runs/dmc_walker_walk"),
        (["task=dmc_pixels", "task.name=walker_walk"], "runs/dmc_pixels_walker_walk"),
        (["task=gym", "task.id=ALE/Pong-v5"], "runs/gym_ALE-Pong-v5"),
        (["task=atari", "task.game=breakout"], "runs/atari_breakout"),
    ],
)
def test_two_tasks_of_one_kind_do_not_share_a_folder(words: list[str], run: str) -> None:
    assert load(words).run == run


def test_a_task_may_have_a_key_called_name() -> None:
    config = load(["task=dmc", "task.name=walker_walk", "seed=3"])
    assert (config.task.option, config.task.label) == ("dmc", "dmc_walker_walk")
    assert config.task.params.name == "walker_walk"  # type: ignore[attr-defined]
    assert config.body.params.seed == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=gym", "task.name=x"], r"unknown key task\.name"),
        (["task=gym", "task.id="], r"task\.id is empty: expected an environment"),
        (["task=gym", "task.repeat=0"], r"task\.repeat=0: expected at least 1"),
        (["task=dmc", "task.episode_steps=-1"], r"task\.episode_steps=-1: expected at least 0"),
        (["task=dmc", "task.pixels=true"], "observes images.*Choose task=dmc_pixels, or set image"),
        (["task=dmc_pixels", "task.pixels=false"], "observes no images.*Choose task=dmc, or"),
        (["task=dmc", "task.camera=-2"], r"task\.camera=-2: expected -1 \(free\)"),
        (["task=dmc", "task.shadow_size=-1"], r"task\.shadow_size=-1: expected at least 0"),
        (["task=atari", "task.sticky=1"], r"task\.sticky=1\.0: expected within \[0, 1\)"),
        (["task=atari", "task.noop_max=-1"], r"task\.noop_max=-1: expected at least 0"),
        (["task=atari", "task.reward=tan"], r"task\.reward=tan: expected tanh or sign or raw"),
        (["task=atari", "body.seed=-1"], r"body\.seed=-1: expected at least 0"),
    ],
)
def test_bad_keys_of_known_tasks_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(words)


def test_null_is_a_value_where_a_key_may_be_empty() -> None:
    words = ["task=a1_walk", "actor.max_policy_age_s=3", "actor.max_policy_age_s=null"]
    assert load(words).actor.max_policy_age_s is None


def test_alias_or_name_chooses_the_body() -> None:
    bodies = {"twin": "a1_twin", "hardware": "a1"}
    assert resolve_body("hardware", "a1_walk", bodies) == "a1"
    assert resolve_body("a1_twin", "a1_walk", bodies) == "a1_twin"
    with pytest.raises(ConfigError, match=r"has hardware \(a1\), twin \(a1_twin\)\. Did you mean"):
        resolve_body("hardwire", "a1_walk", bodies)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=a1_wlak"], r"no such task\. Did you mean a1_walk\?"),
        (["size=smal"], r"no such size\. Did you mean small\?"),
        (["agent=dreamer"], r"no such agent\. Did you mean daydreamer\?"),
        (["body=hardware"], r"task a1_walk has no such body; it has twin \(a1_twin\)"),
        (["horizon=4"], r"unknown key horizon\. Did you mean agent\.horizon\?"),
        (["agent.horizn=4"], r"Did you mean agent\.horizon\?"),
        (["task.episode_step=4"], r"Did you mean task\.episode_steps\?"),
        (["body.strt=back"], r"Did you mean body\.start"),
        (["body.push.perod_s=4"], r"Did you mean body\.push\.period_s"),
        (["stepz=4"], r"unknown key stepz\. Did you mean .*steps"),
        (["task.kind=os:path"], r"task\.kind is not set by itself"),
        (["steps=abc"], r"steps: expected a whole number, found 'abc'"),
        (["learner.batch=1.5"], r"learner\.batch: expected a whole number, found 1\.5"),
        (["learner.insecure=1"], r"expected true or false"),
        (["mode=lokstep"], r"mode=lokstep: expected async or lockstep\. Did you mean lockstep\?"),
        (["seed=1,2"], r"one value is wanted.*seed=\[1,2\]"),
        (["seed=[1"], r"cannot be read as a value"),
        (["seed"], r"'seed' is not key=value"),
        (["=3"], r"is not key=value"),
        (["+seed=3"], r"Write seed=VALUE"),
        (["~seed=3"], r"Write seed=VALUE"),
        (["run="], r"run is empty"),
        (["body.start=sideways"], r"body\.start='sideways': expected one of"),
        (["learner.bind=lab:5555"], r"learner\.bind=lab:5555: expected an address"),
        (["learner.bind=tcp://lab:70000"], r"expected an address"),
        (["learner.device=gpu"], r"learner\.device=gpu: expected auto, cpu, cuda"),
        (["learner.length=1"], r"learner\.length=1: expected at least 2"),
        (["learner.capacity_rows=10"], r"expected room for prefill_rows"),
        (
            ["learner.holdout_every=1"],
            r"learner\.holdout_every=1: expected 0 for none, or at least 2",
        ),
        (["learner.holdout_every=-2"], r"learner\.holdout_every=-2: expected 0 for none"),
        (["learner.dream_share=-0.5"], r"learner\.dream_share=-0\.5: expected 0 for no dreaming"),
        (["learner.dream_share=inf"], r"learner\.dream_share=inf: expected .* a finite share"),
        (["learner.dream_after_s=-1"], r"learner\.dream_after_s=-1\.0: expected at least 0"),
        (["learner.report_every_s=-1"], r"learner\.report_every_s=-1\.0: expected at least 0"),
        (["learner.keep_reports=0"], r"learner\.keep_reports=0: expected at least 1"),
        (["actor.id=../x"], r"actor\.id=\.\./x: expected 1 to 64 letters"),
        (["actor.id=_x"], r"actor\.id=_x: expected .* after a letter or digit"),
        (["mode=lockstep", "actor.on_old_policy=stop"], r"expected run, as a policy's age is wall"),
        (["actor.chunk_rows=4096"], r"actor\.chunk_rows=4096: expected at most 4095"),
        (["wire.liveness_s=0.01"], r"wire\.liveness_s=0\.01: expected at least twice"),
        (["actor.on_old_policy=sit"], r"actor\.on_old_policy=sit: expected run or hold or stop"),
        (["mode=lockstep", "actor.realtime=true"], r"mode=lockstep with actor\.realtime=true"),
        (["steps=-1"], r"^steps=-1: expected at least 0"),
    ],
)
def test_bad_words_are_refused_with_cause_and_cure(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(["task=a1_walk", *words])


def test_a_task_is_asked_for_by_naming_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"no task was chosen\. Write task=NAME; there is: a1_walk"
    ):
        load([])


def test_safety_rules_and_the_watchdog_are_the_actor_s_keys() -> None:
    config = load(
        ["task=a1_walk", "actor.safety.tilt=stop", "actor.safety.tilt_limit_rad=0.6",
         "actor.safety.workspace_low_m=[-2,-2,0]", "actor.watchdog_s=0.3"]
    )  # fmt: skip
    safety = config.actor.safety
    assert (safety.tilt, safety.tilt_limit_rad) == ("stop", 0.6)
    assert safety.workspace_low_m == [-2.0, -2.0, 0.0]
    assert safety.command_limits == "clip"
    assert config.actor.watchdog_s == 0.3


def test_a_rule_set_by_a_body_leaves_the_others_alone(tmp_path: Path) -> None:
    save(load(["task=a1_walk", "actor.safety.joint_torque=stop"]), tmp_path)
    path = tmp_path / "config.yaml"
    # A bare off is false to YAML; a person may well write it so.
    path.write_text(path.read_text().replace("joint_position: warn", "joint_position: off"))
    safety = load_run(tmp_path, ["actor.safety.tilt=warn"]).actor.safety
    assert (safety.joint_torque, safety.joint_position, safety.tilt) == ("stop", "off", "warn")
    layers = {"actor": {"safety": {"tilt": "stop"}}}
    _lay_over(layers, {"actor": {"safety": {"temperature": "warn"}}}, "body=x")
    assert layers["actor"]["safety"] == {"tilt": "stop", "temperature": "warn"}


def test_an_address_without_protocol_is_taken_for_an_address() -> None:
    with pytest.raises(ConfigError, match=r"actor\.learner=lab:99: expected an address such as"):
        load(["task=a1_walk", "learner=lab:99"])
