"""The DayDreamer agent: one update of world model, critic and actor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from daydreamer.agents.adapt import RewardCenter
from daydreamer.agents.behavior import Behavior, BehaviorLoss
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.optimizer import Optimizer, StepReport
from daydreamer.agents.plan2explore import Explorer, ExplorerLoss
from daydreamer.agents.precision import uses_bf16
from daydreamer.agents.ranks import ALONE, Ranks
from daydreamer.agents.world_model import ModelLoss, WorldModel
from daydreamer.models.casting import computing_in
from daydreamer.models.policy import Policy
from daydreamer.models.rssm import Latent
from daydreamer.native.memory import keep_freed_memory
from robots.base import ActionSpec, ArraySpec


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for a module's own parameters: autograd then skips their share of backward."""
    params = [p for p in module.parameters() if p.requires_grad]
    for p in params:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in params:
            p.requires_grad_(True)


class _ModelStep(nn.Module):
    """The world model's loss as a forward pass, which is what gradients are averaged through."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Mapping[str, Tensor], noise: Tensor) -> ModelLoss:
        return self.model.loss(batch, noise)


class _BehaviorStep(nn.Module):
    """The same for actor and critic. Each loss reaches its own parameters only."""

    def __init__(self, behavior: Behavior) -> None:
        super().__init__()
        self.behavior = behavior

    def forward(
        self,
        model: WorldModel,
        start: Latent,
        start_cont: Tensor,
        center: Tensor,
        generator: torch.Generator,
    ) -> BehaviorLoss:
        return self.behavior.loss(model, start, start_cont, center, generator)


class Agent:
    """World model and behaviour with their optimizers.

    Deterministic for a seed, a device and its batches. Where ranks share the updates, each has an
    agent with the same state, before and after every update.
    """

    def __init__(
        self,
        cfg: AgentConfig,
        observations: Mapping[str, ArraySpec],
        action: ActionSpec,
        *,
        device: str = "cpu",
        seed: int = 0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.cfg, self.device, self._ranks = cfg, torch.device(device), ranks
        if self.device.type == "cpu":
            keep_freed_memory()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = WorldModel(cfg, observations, action, ranks).to(self.device)
            self.behavior = Behavior(cfg, self.model.rssm.feat_size, action, ranks).to(self.device)
            self.explorer = (
                Explorer(cfg, self.model, action, ranks).to(self.device)
                if cfg.explore_updates
                else None
            )
        self.reward_center = RewardCenter(ranks=ranks).to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        # Exploring draws from its own, so that what learns the task draws the same without it; no
        # other run's seed is negative.
        self.explore_generator = torch.Generator(self.device).manual_seed(-1 - seed)
        self.updates = 0
        self.dtype = torch.bfloat16 if uses_bf16(cfg.precision, self.device) else None
        learning: list[tuple[str, nn.Module, float]] = [
            ("model", self.model, cfg.model_lr),
            ("actor", self.behavior.actor, cfg.actor_lr),
            ("critic", self.behavior.critic, cfg.critic_lr),
        ]
        self._model_step = ranks.average_gradients_of(_ModelStep(self.model))
        self._behavior_step = ranks.average_gradients_of(_BehaviorStep(self.behavior))
        if self.explorer is not None:
            learning += [
                ("explore_ensemble", self.explorer.ensemble, cfg.model_lr),
                ("explore_actor", self.explorer.behavior.actor, cfg.actor_lr),
                ("explore_critic", self.explorer.behavior.critic, cfg.critic_lr),
            ]
            self._explore_step = ranks.average_gradients_of(self.explorer)
        shared = {"eps": cfg.adam_eps, "clip": cfg.grad_clip, "weight_decay": cfg.weight_decay}
        self.optimizers = {
            name: Optimizer(module.parameters(), lr=lr, **shared) for name, module, lr in learning
        }

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update from rows (B, T, ...): of a joint batch, this rank's. Returns scalar metrics.

        `bad` counts the optimizers that skipped their step: loss or gradient was not finite. The
        metrics stay on the device, and nothing here waits for it.
        """
        batch = {key: x.to(self.device, non_blocking=True) for key, x in batch.items()}
        with computing_in(self.dtype, self.device):
            latents = self.model.rssm.latents
            size = *batch["is_first"].shape, latents.stoch
            noise = self._ranks.noise(latents.noise, *size, generator=self.generator)
            model: ModelLoss = self._model_step(batch, noise)
        model.loss.backward()
        reports = self._step({"model": model.loss})
        copies = self.updates % self.cfg.slow_critic_updates == 0
        if copies:
            self.behavior.copy_slow_critic()
        post = model.post.detach()
        start, start_cont = self._starts(post, 1.0 - batch["is_terminal"].float())
        flags = batch["is_first"], batch["is_terminal"]
        center = self.reward_center.update(batch["reward"], *flags)
        with frozen(self.model):
            with computing_in(self.dtype, self.device):
                behavior: BehaviorLoss = self._behavior_step(
                    self.model, start, start_cont, center, self.generator
                )
            (behavior.actor + behavior.critic).backward()
        reports.update(self._step({"critic": behavior.critic, "actor": behavior.actor}))
        metrics = {f"model/{name}": x for name, x in model.metrics.items()}
        metrics["model/loss"] = model.loss.detach()
        metrics.update({f"behavior/{name}": x for name, x in behavior.metrics.items()})
        if self.explorer is not None and self.explores:
            if copies:
                self.explorer.behavior.copy_slow_critic()
            with frozen(self.model):
                with computing_in(self.dtype, self.device):
                    explorer: ExplorerLoss = self._explore_step(
                        self.model,
                        post,
                        batch["is_first"],
                        start,
                        start_cont,
                        center,
                        self.explore_generator,
                    )
                (explorer.ensemble + explorer.actor + explorer.critic).backward()
            losses = {
                "explore_ensemble": explorer.ensemble,
                "explore_critic": explorer.critic,
                "explore_actor": explorer.actor,
            }
            reports.update(self._step(losses))
            metrics.update({f"explore/{name}": x for name, x in explorer.metrics.items()})
        self.updates += 1
        metrics.update({f"{name}/grad_norm": r.grad_norm for name, r in reports.items()})
        metrics["bad"] = torch.stack([r.skipped for r in reports.values()]).sum()
        return self._ranks.means(metrics)

    @property
    def explores(self) -> bool:
        """Whether what is sent to the actors explores, at this point of training."""
        return self.updates < self.cfg.explore_updates

    def _step(self, losses: Mapping[str, Tensor]) -> dict[str, StepReport]:
        """A step of the optimizers named, along the gradients that backward() left."""
        joint = self._ranks.means({name: loss.detach() for name, loss in losses.items()})
        return {name: self.optimizers[name].step(loss) for name, loss in joint.items()}

    def _starts(self, post: Latent, cont: Tensor) -> tuple[Latent, Tensor]:
        """Beliefs (B, T, ...) -> (N, ...): all of them, or imagination_starts drawn at random.

        Drawn from those of all ranks, and shared among them.
        """
        flat, cont = Latent(*(x.flatten(0, 1) for x in post)), cont.flatten()
        wanted, there = self.cfg.imagination_starts, len(cont) * self._ranks.size
        if not 0 < wanted < there:
            return flat, cont
        drawn = torch.randperm(there, generator=self.generator, device=self.device)[:wanted]
        own = self._ranks.share(drawn)
        return Latent(*(self._ranks.gather(x)[own] for x in flat)), self._ranks.gather(cont)[own]

    def policy_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Policy.arrays() of what does the task best, as it is now."""
        return self._arrays(self.behavior)

    def collector_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What ships to an actor: the same, or what explores as long as that is wanted."""
        explorer = self.explorer if self.explores else None
        return self._arrays(self.behavior if explorer is None else explorer.behavior)

    def _arrays(self, behavior: Behavior) -> dict[str, NDArray[np.float32]]:
        policy = Policy(
            self.model.encoder,
            self.model.rssm,
            behavior.actor,
            noise_correlation=self.cfg.noise_correlation,
        )
        return policy.arrays()

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs: plain nested dicts of tensors and numbers."""
        return {
            "model": self.model.state_dict(),
            "behavior": self.behavior.state_dict(),
            "reward_center": self.reward_center.state_dict(),
            **({} if self.explorer is None else {"explorer": self.explorer.state_dict()}),
            "optimizers": {name: opt.adam.state_dict() for name, opt in self.optimizers.items()},
            "generator": self.generator.get_state(),
            "explore_generator": self.explore_generator.get_state(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict() was taken. Raises on another agent's state.

        Where exploring was switched on or off since, what explores begins anew, or is left behind.
        """
        self.model.load_state_dict(state["model"])
        self.behavior.load_state_dict(state["behavior"])
        self.reward_center.load_state_dict(state["reward_center"])
        explored = "explorer" in state
        if self.explorer is not None and explored:
            self.explorer.load_state_dict(state["explorer"])
        for name, opt in self.optimizers.items():
            if explored or not name.startswith("explore_"):
                opt.adam.load_state_dict(state["optimizers"][name])
        self.generator.set_state(state["generator"].cpu())
        if "explore_generator" in state:  # older checkpoints have none
            self.explore_generator.set_state(state["explore_generator"].cpu())
        self.updates = int(state["updates"])


def build_agent(
    cfg: AgentConfig,
    observations: Mapping[str, ArraySpec],
    action: ActionSpec,
    *,
    device: str = "cpu",
    seed: int = 0,
    ranks: Ranks = ALONE,
) -> Agent:
    """The agent that cfg describes, with fresh weights drawn from `seed`."""
    return Agent(cfg, observations, action, device=device, seed=seed, ranks=ranks)
