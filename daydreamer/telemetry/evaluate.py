"""`daydreamer eval run=DIR episodes=N`: what the newest policy of a run does, in figures and film.

The policy takes its likeliest action (mode=sample draws instead). Each episode starts from the
body's start pose. Control loop and safety layer are the actor's own.

Writes RUN/eval/<updates>/results.json, and for a twin video.mp4 and contact_sheet.png.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from daydreamer.config.errors import ConfigError, nearest

if TYPE_CHECKING:
    from daydreamer.actor.loop import StepRecord
    from daydreamer.config import Config
    from daydreamer.models.numpy_policy import NumpyPolicy
    from daydreamer.telemetry.film import Film, Twin
    from daydreamer.telemetry.video import Frame
    from robots.base import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalOptions:
    """What `eval` is told beside the run's own config."""

    run: Path
    episodes: int = 3
    mode: Literal["mode", "sample"] = "mode"
    video: bool = True


@dataclass(frozen=True)
class Episode:
    """What one evaluated episode came to."""

    total: float  # sum of rewards
    length: int  # control steps
    reward_per_step: float
    final_reward_per_step: float  # over the last fifth: where the robot got to
    log: dict[str, float]  # means of the task's log keys
    final_log: dict[str, float]  # the same keys at the last step, such as a game's score


def eval_main(argv: Sequence[str]) -> int:
    """Run the command; returns its exit code. Raises ConfigError, CheckpointError, RobotError."""
    options, overrides = parse(argv)
    from daydreamer.config import load_run
    from daydreamer.process import limit_threads

    config = load_run(options.run, overrides)
    limit_threads(config.actor.threads)
    log.info("reading the newest policy of %s", options.run)
    from daydreamer.learner.checkpoint import CheckpointError, load_policy_arrays
    from daydreamer.models.numpy_policy import NumpyPolicy

    arrays, version = load_policy_arrays(options.run)
    task = config.task.build()
    try:
        policy = NumpyPolicy(config.agent, task.observations, task.action, arrays)
    except ValueError as error:
        raise CheckpointError(f"{options.run} and its checkpoint disagree: {error}") from error
    log.info(
        "policy version %d on %s, %d episode(s): a line as each one ends",
        version,
        config.body.option,
        options.episodes,
    )
    folder = options.run / "eval" / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    episodes = evaluate(config, task, policy, version, options, folder)
    results = _results(config, options, version, episodes)
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(render(results, sorted(path.name for path in folder.iterdir()), folder))
    return 0


def parse(argv: Sequence[str]) -> tuple[EvalOptions, list[str]]:
    """Eval's own words, and those for the run's config. Raises ConfigError."""
    own: dict[str, str] = {}
    rest: list[str] = []
    names = [field.name for field in dataclasses.fields(EvalOptions)]
    for word in argv:
        key, equals, text = word.partition("=")
        if equals and key in names:
            own[key] = text
        elif equals and ("." in key or key in ("task", "body", "seed")):
            rest.append(word)
        else:
            near = nearest(key, [*names, "task", "body", "seed"])
            raise ConfigError(
                f"eval does not know {word!r}. {near} Write e.g. run=runs/a1 episodes=3."
            )
    if "run" not in own:
        raise ConfigError("eval needs the run to look at. Write run=DIR.")
    episodes = own.get("episodes", "3")
    if not episodes.isdecimal() or int(episodes) < 1:
        raise ConfigError(f"episodes={episodes}: expected a whole number from 1 on")
    mode, video = own.get("mode", "mode"), own.get("video", "true")
    if mode not in ("mode", "sample"):
        raise ConfigError(f"mode={mode}: expected mode (the likeliest action) or sample")
    if video not in ("true", "false"):
        raise ConfigError(f"video={video}: expected true or false")
    run = Path(own["run"]).expanduser()
    return EvalOptions(
        run, int(episodes), "sample" if mode == "sample" else "mode", video == "true"
    ), rest


def evaluate(
    config: Config,
    task: Task,
    policy: NumpyPolicy,
    version: int,
    options: EvalOptions,
    folder: Path,
) -> list[Episode]:
    """Drive the body for every episode; a twin is filmed into `folder`."""
    from daydreamer.telemetry.episode import drive
    from daydreamer.telemetry.film import Film, Twin
    from daydreamer.telemetry.video import VideoWriter, contact_sheet

    robot = config.body.build(config.task)
    rate_hz = robot.spec.control_hz

    def run(index: int, film: Film | None = None) -> Episode:
        steps: list[StepRecord] = []

        def seen(step: StepRecord) -> None:
            steps.append(step)
            if film is not None:
                film.add(step.arrival.reward)

        drive(config, task, robot, policy, version, mode=options.mode, index=index, on_step=seen)
        episode = summarize(steps)
        log.info(
            "episode %d of %d: reward per step %.2f",
            index + 1,
            options.episodes,
            episode.reward_per_step,
        )
        return episode

    if not (options.video and isinstance(robot, Twin) and _can_be_filmed(robot)):
        return [run(index) for index in range(options.episodes)]
    episodes: list[Episode] = []
    stills: list[Frame] = []
    labels: list[str] = []
    with VideoWriter(folder / "video.mp4", rate_hz) as video:
        for index in range(options.episodes):
            film = Film(robot, video, f"episode {index + 1}", 1 / rate_hz)
            episodes.append(run(index, film))
            stills += film.stills
            labels += film.labels
    contact_sheet(folder / "contact_sheet.png", stills, labels)
    return episodes


def _can_be_filmed(robot: Twin) -> bool:
    """Whether it can be drawn on this machine; says why not. Connects it."""
    from daydreamer.telemetry.film import FRAME_SIZE
    from robots.base import RobotError

    robot.connect()
    try:
        robot.render(*FRAME_SIZE)
    except RobotError as error:
        log.warning("no film: %s", error)
        return False
    return True


def summarize(steps: Sequence[StepRecord]) -> Episode:
    """The figures of one episode. At least one step."""
    rewards = [step.arrival.reward for step in steps]
    logs = [step.arrival.log for step in steps]
    return Episode(
        total=sum(rewards),
        length=len(rewards),
        reward_per_step=statistics.fmean(rewards),
        final_reward_per_step=statistics.fmean(rewards[-max(1, len(rewards) // 5) :]),
        log={key: statistics.fmean(log[key] for log in logs) for key in logs[-1]},
        final_log=dict(logs[-1]),
    )


def render(results: Any, files: Sequence[str], folder: Path) -> str:
    """A table for people."""
    lines = [
        f"policy version {results['policy_version']}, {results['body']}, {results['task']}, "
        f"{'likeliest' if results['mode'] == 'mode' else 'sampled'} actions",
        "",
        f"{'episode':>8}{'return':>10}{'steps':>8}{'reward/step':>13}{'at the end':>12}",
    ]
    for index, one in enumerate(results["episodes"], start=1):
        lines.append(
            f"{index:>8}{one['total']:>10.1f}{one['length']:>8}"
            f"{one['reward_per_step']:>13.2f}{one['final_reward_per_step']:>12.2f}"
        )
    mean = results["mean"]
    lines += [
        f"{'mean':>8}{mean['total']:>10.1f}{mean['length']:>8.0f}"
        f"{mean['reward_per_step']:>13.2f}{mean['final_reward_per_step']:>12.2f}",
        "",
        *(
            f"{when}: " + ", ".join(f"{key} {value:.3f}" for key, value in mean[name].items())
            for when, name in (("on average", "log"), ("at the end", "final_log"))
            if mean[name]
        ),
        f"written: {folder}: {', '.join(files)}",
    ]
    return "\n".join(lines) + "\n"


def _results(
    config: Config, options: EvalOptions, version: int, episodes: Sequence[Episode]
) -> Any:
    figures = ("total", "length", "reward_per_step", "final_reward_per_step")
    mean: dict[str, Any] = {
        name: statistics.fmean(getattr(one, name) for one in episodes) for name in figures
    }
    for name in ("log", "final_log"):
        logs: list[dict[str, float]] = [getattr(one, name) for one in episodes]
        mean[name] = {key: statistics.fmean(log[key] for log in logs) for key in logs[0]}
    return {
        "run": str(options.run),
        "policy_version": version,
        "mode": options.mode,
        "seed": config.seed,
        "task": config.task.label,
        "body": config.body.option,
        "mean": mean,
        "episodes": [dataclasses.asdict(one) for one in episodes],
    }
