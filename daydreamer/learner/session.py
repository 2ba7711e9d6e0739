"""One session of the learner: everything it needs, put together and taken apart in order.

Under torchrun this is rank 0's; the other ranks have an agent and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import torch

from daydreamer.agents.agent import Agent, build_agent
from daydreamer.agents.ranks import Ranks
from daydreamer.config import Config, ConfigError, fingerprint
from daydreamer.config.runs import to_data
from daydreamer.config.typed import flatten
from daydreamer.learner.address import address_of, announced
from daydreamer.learner.checkpoint import CheckpointError, Checkpoints
from daydreamer.learner.distributed import RankLostError, Team, follow, joined, leading
from daydreamer.learner.dreaming import Dreaming
from daydreamer.learner.housekeeping import Housekeeping
from daydreamer.learner.ingest import Ingest
from daydreamer.learner.launch import Launch
from daydreamer.learner.publisher import Publisher
from daydreamer.learner.reports import Reports
from daydreamer.learner.resume import thaw
from daydreamer.learner.sampler import DirectSampler, PrefetchSampler
from daydreamer.learner.schedule import train_freely, train_in_turns
from daydreamer.learner.threads import Threads
from daydreamer.learner.trainer import Trainer, TrainingError
from daydreamer.process import StopFlag, claim, save_config_once, seed_everything
from daydreamer.replay.archive import Archive
from daydreamer.replay.held_out import HeldOut
from daydreamer.replay.limiter import ReplayRatioLimiter
from daydreamer.replay.sequences import SequenceReplay
from daydreamer.telemetry.metrics import MetricsLog
from daydreamer.wire.messages import ROWS_AHEAD, ROWS_STORED
from daydreamer.wire.rows import make_schema
from daydreamer.wire.server import Server, ServerConfig

log = logging.getLogger(__name__)


def run_session(cfg: Config, stop: StopFlag, launch: Launch) -> int:
    """Learn until stop(); leaves a checkpoint. Returns the exit code."""
    try:
        with contextlib.ExitStack() as stack:
            if launch.rank == 0:
                claimed = claim(
                    cfg.folder / "learner", "a learner for this run", "choose another run=DIR"
                )
                stack.enter_context(claimed)
                save_config_once(cfg)
            seed_everything(cfg.seed)
            device = _device(cfg.learner.device, launch)
            # Ranks must compute alike to the last digit, as must a lockstep run that is repeated; a
            # GPU's updates need no threads.
            adapts = device == "cpu" and launch.size == 1 and cfg.mode != "lockstep"
            threads = Threads(cfg.learner.threads, follow=adapts)
            team = stack.enter_context(joined(launch, _shared_settings(cfg), stop, device))
            if launch.rank == 0:
                _learn(cfg, device, threads, team, stop, stack)
            else:
                follow(_build_agent(cfg, device, team.ranks), team)
    except (TrainingError, CheckpointError, RankLostError) as error:
        log.error("%s", error)
        return 1
    return stop.exit_code


def _shared_settings(cfg: Config) -> dict[str, Any]:
    """What ranks must agree on; the rest is rank 0's business."""
    flat = flatten(to_data(cfg))
    keys = ("agent.", "task.", "learner.batch", "learner.length", "seed")
    return {key: value for key, value in flat.items() if key.startswith(keys)}


def _build_agent(cfg: Config, device: str, ranks: Ranks) -> Agent:
    task = cfg.task.build()
    return build_agent(
        cfg.agent, task.observations, task.action, device=device, seed=cfg.seed, ranks=ranks
    )


def _learn(
    cfg: Config,
    device: str,
    threads: Threads,
    team: Team,
    stop: StopFlag,
    stack: contextlib.ExitStack,
) -> None:
    own, folder, in_turns = cfg.learner, cfg.folder / "learner", cfg.mode == "lockstep"
    agent = _build_agent(cfg, device, team.ranks)
    leader = stack.enter_context(leading(agent, team, stop)) if team.ranks.size > 1 else None
    should_stop = stop if leader is None else leader.wants_stop
    task = cfg.task.build()
    schema = make_schema(task.observations, task.action.size, task.log_keys)
    archive = stack.enter_context(
        Archive(folder / "replay", schema, cfg.run_name, capacity_rows=own.capacity_rows)
    )
    replay = SequenceReplay(
        schema,
        own.capacity_rows,
        cross_episodes=own.cross_episodes,
        ends_bonus=own.ends_bonus,
        recency=own.recency,
    )
    limiter = ReplayRatioLimiter(
        own.replay_ratio,
        own.prefill_rows,
        own.batch * own.length,
        own.pretrain,
        own.dream_share,
    )
    held_out = HeldOut(own.holdout_every)
    ingest = Ingest(replay, limiter, in_turns=in_turns, held_out=held_out)
    direct = DirectSampler(replay, tuple(task.observations), own.batch, own.length, cfg.seed)
    trainer = Trainer(
        leader or agent,
        direct,
        limiter,
        max_bad_updates=own.max_bad_updates,
        evidence_dir=folder,
        lag=int(device != "cpu"),
    )
    checkpoints = Checkpoints(folder / "checkpoints", own.keep_checkpoints)
    loaded = checkpoints.load()
    if loaded is not None:
        updates, state = loaded
        thaw(trainer, state)
        direct.load_state(state["sampler"])
        limiter.load_state_dict(state["limiter"])
        log.info("resumed from the checkpoint of update %d", updates)
    ingest.load(archive, limiter.rows)

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
        figures=lambda session: {
            ROWS_AHEAD: limiter.rows_ahead(trainer.agent.updates),
            ROWS_STORED: ingest.rows_of[session],
        },
    )
    publisher = Publisher(
        server.publish, every_updates=own.publish_every_updates, every_s=own.publish_every_s
    )
    metrics = stack.enter_context(MetricsLog(folder / "metrics.jsonl", folder / "tensorboard"))
    reports = stack.enter_context(
        contextlib.closing(
            Reports(
                agent,
                held_out,
                metrics,
                folder / "report",
                every_s=own.report_every_s,
                keep=own.keep_reports,
            )
        )
    )

    def is_connected() -> bool:
        return any(peer.connected for peer in server.peers().values())

    dreaming = Dreaming(limiter, is_connected, own.dream_after_s)
    housekeeping = Housekeeping(
        own,
        trainer,
        ingest,
        publisher,
        checkpoints,
        metrics,
        reports,
        dreaming,
        server.peers,
        lambda: server.failure is not None,
    )
    housekeeping.publish()  # before the first actor asks
    stack.enter_context(server)
    stack.enter_context(announced(folder, server.bound_address or own.bind))
    log.info(
        "training on %s with %d threads%s",
        device,
        torch.get_num_threads(),
        f", in {team.ranks.size} processes" if leader else "",
    )
    try:
        if in_turns:
            train_in_turns(trainer, ingest, housekeeping, server.grant_turn, should_stop)
        else:
            trainer.sampler = stack.enter_context(
                contextlib.closing(PrefetchSampler(direct, pin=device != "cpu"))
            )
            publisher.start()
            train_freely(trainer, ingest, housekeeping, threads, dreaming, should_stop)
    finally:
        publisher.close()
        server.close()
        if not team.is_broken:  # else a GPU may wait for a sum that never comes
            housekeeping.write_metrics()
    housekeeping.save()
    log.info("stopped after %d updates", trainer.agent.updates)


def _device(wanted: str, launch: Launch) -> str:
    """What learner.device comes to for this process. Raises ConfigError if the GPU is missing."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError(
            f"learner.device={wanted}: torch {torch.__version__} finds no CUDA GPU here. "
            "Use learner.device=cpu, or install a torch built for your driver."
        )
    if launch.size == 1:
        return "cuda" if wanted == "auto" else wanted
    there = torch.cuda.device_count()
    if wanted not in ("auto", "cuda") or launch.local_rank >= there:
        raise ConfigError(
            f"learner.device={wanted} with a process of number {launch.local_rank} on this machine "
            f"and {there} GPU(s): each process takes the GPU of its number. Leave learner.device "
            f"out, and use at most --nproc-per-node={there}."
        )
    return f"cuda:{launch.local_rank}"
