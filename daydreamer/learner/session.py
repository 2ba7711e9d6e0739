"""One session of the learner: everything it needs, put together and taken apart in order."""

from __future__ import annotations

import contextlib
import logging

import torch

from daydreamer.agents.agent import build_agent
from daydreamer.config import Config, ConfigError, fingerprint
from daydreamer.learner.address import address_of, announced
from daydreamer.learner.checkpoint import CheckpointError, Checkpoints
from daydreamer.learner.housekeeping import Housekeeping
from daydreamer.learner.ingest import Ingest
from daydreamer.learner.publisher import Publisher
from daydreamer.learner.resume import thaw
from daydreamer.learner.sampler import DirectSampler, PrefetchSampler
from daydreamer.learner.schedule import train_freely, train_in_turns
from daydreamer.learner.trainer import Trainer, TrainingError
from daydreamer.process import StopFlag, claim, save_config_once, seed_everything
from daydreamer.replay.archive import Archive
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.telemetry.metrics import MetricsLog
from daydreamer.wire.rows import make_schema
from daydreamer.wire.server import Server, ServerConfig

log = logging.getLogger(__name__)


def run_session(cfg: Config, stop: StopFlag) -> int:
    """Learn until stop(); leaves a checkpoint. Returns the exit code."""
    folder = cfg.folder / "learner"
    with contextlib.ExitStack() as stack:
        stack.enter_context(claim(folder, "a learner for this run", "choose another run=DIR"))
        save_config_once(cfg)
        try:
            _learn(cfg, stop, stack)
        except (TrainingError, CheckpointError) as error:
            log.error("%s", error)
            return 1
    return stop.exit_code


def _learn(cfg: Config, stop: StopFlag, stack: contextlib.ExitStack) -> None:
    own, folder, in_turns = cfg.learner, cfg.folder / "learner", cfg.mode == "lockstep"
    if own.threads:
        torch.set_num_threads(own.threads)
    seed_everything(cfg.seed)
    device = _device(own.device)
    task = cfg.task.build()
    schema = make_schema(task.observations, task.action.size, task.log_keys)
    archive = stack.enter_context(
        Archive(folder / "replay", schema, cfg.run_name, capacity_rows=own.capacity_rows)
    )
    replay = SequenceReplay(
        schema, own.capacity_rows, cross_episodes=own.cross_episodes, ends_bonus=own.ends_bonus
    )
    limiter = ReplayRatioLimiter(
        own.replay_ratio, own.prefill_rows, own.batch * own.length, own.pretrain
    )
    ingest = Ingest(replay, limiter, in_turns=in_turns)
    direct = DirectSampler(replay, tuple(task.observations), own.batch, own.length, cfg.seed)
    trainer = Trainer(
        build_agent(cfg.agent, task.observations, task.action, device=device, seed=cfg.seed),
        direct,
        limiter,
        max_bad_updates=own.max_bad_updates,
        evidence_dir=folder,
    )
    checkpoints = Checkpoints(folder / "checkpoints", own.keep_checkpoints)
    loaded = checkpoints.load()
    if loaded is not None:
        updates, state = loaded
        thaw(trainer, state)
        direct.load_state(state["sampler"])
        log.info("resumed from the checkpoint of update %d", updates)
    ingest.load(archive, 0 if loaded is None else int(loaded[1]["limiter"]["rows"]))

    mark, flat = fingerprint(cfg)
    server = Server(
        ServerConfig(
            bind=own.bind,
            run=cfg.run_name,
            fingerprint=mark,
            config=flat,
            schema=schema,
            lockstep=in_turns,
            insecure=own.insecure,
            liveness_s=cfg.wire.liveness_s,
            former=address_of(folder),
        ),
        archive,
        on_chunk=ingest.store,
        # Actors count control steps towards the run's end: an episode's first row is none.
        step_count=lambda: ingest.control_steps,
    )
    publisher = Publisher(
        server.publish, every_updates=own.publish_every_updates, every_s=own.publish_every_s
    )
    metrics = stack.enter_context(MetricsLog(folder / "metrics.jsonl", folder / "tensorboard"))
    housekeeping = Housekeeping(
        own,
        trainer,
        ingest,
        publisher,
        checkpoints,
        metrics,
        server.peers,
        server.set_stats,
        lambda: server.failure is not None,
    )
    housekeeping.publish()  # before the first actor asks
    stack.enter_context(server)
    stack.enter_context(announced(folder, server.bound_address or own.bind))
    log.info("training on %s with %d threads", device, torch.get_num_threads())
    try:
        if in_turns:
            train_in_turns(trainer, ingest, housekeeping, server.grant_turn, stop)
        else:
            trainer.sampler = stack.enter_context(
                contextlib.closing(PrefetchSampler(direct, pin=device != "cpu"))
            )
            publisher.start()
            train_freely(trainer, ingest, housekeeping, stop)
    finally:
        publisher.close()
        server.close()
        housekeeping.write_metrics()
    housekeeping.save()
    log.info("stopped after %d updates", trainer.agent.updates)


def _device(wanted: str) -> str:
    """What learner.device comes to on this machine. Raises ConfigError if the GPU is missing."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"learner.device={wanted}: torch {torch.__version__} finds no CUDA GPU here. "
            "Use learner.device=cpu, or install a torch built for your driver."
        )
    return wanted
