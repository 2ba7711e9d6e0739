"""The DayDreamer agent: one update of world model, critic and actor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from daydreamer.agents.behavior import Behavior
from daydreamer.agents.config import AgentConfig
from daydreamer.agents.optimizer import Optimizer
from daydreamer.agents.precision import uses_bf16
from daydreamer.agents.world_model import WorldModel
from daydreamer.models.policy import Policy
from daydreamer.models.rssm import Latent
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


class Agent:
    """World model and behaviour with their optimizers.

    Deterministic for a seed, a device and its batches.
    """

    def __init__(
        self,
        cfg: AgentConfig,
        observations: Mapping[str, ArraySpec],
        action: ActionSpec,
        *,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.cfg, self.device = cfg, torch.device(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = WorldModel(cfg, observations, action).to(self.device)
            self.behavior = Behavior(cfg, self.model.rssm.feat_size, action).to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.updates = 0
        self.bf16 = uses_bf16(cfg.precision, self.device)
        self._policy = Policy(
            self.model.encoder,
            self.model.rssm,
            self.behavior.actor,
            noise_correlation=cfg.noise_correlation,
        )
        shared = {"eps": cfg.adam_eps, "clip": cfg.grad_clip, "weight_decay": cfg.weight_decay}
        self.optimizers = {
            "model": Optimizer(self.model.parameters(), lr=cfg.model_lr, **shared),
            "actor": Optimizer(self.behavior.actor.parameters(), lr=cfg.actor_lr, **shared),
            "critic": Optimizer(self.behavior.critic.parameters(), lr=cfg.critic_lr, **shared),
        }

    def update(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One update from rows (B, T, ...). Returns scalar metrics.

        `bad` counts the optimizers that skipped their step: loss or gradient was not finite.
        """
        batch = {key: x.to(self.device, non_blocking=True) for key, x in batch.items()}
        lead = batch["is_first"].shape
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            uniform = torch.rand(
                *lead, self.model.rssm.latents.stoch, generator=self.generator, device=self.device
            )
            model = self.model.loss(batch, uniform)
        reports = {"model": self.optimizers["model"].step(model.loss)}
        if self.updates % self.cfg.slow_critic_updates == 0:
            self.behavior.copy_slow_critic()
        start, start_cont = self._starts(model.post.detach(), 1.0 - batch["is_terminal"].float())
        with frozen(self.model):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
                behavior = self.behavior.loss(
                    self.model, start, start_cont, batch["reward"], self.generator
                )
            reports["critic"] = self.optimizers["critic"].step(behavior.critic)
            reports["actor"] = self.optimizers["actor"].step(behavior.actor)
        self.updates += 1
        metrics = {f"model/{name}": x for name, x in model.metrics.items()}
        metrics["model/loss"] = model.loss.detach()
        metrics.update({f"behavior/{name}": x for name, x in behavior.metrics.items()})
        metrics.update({f"{name}/grad_norm": r.grad_norm for name, r in reports.items()})
        metrics["bad"] = torch.stack([r.skipped for r in reports.values()]).sum()
        return metrics

    def _starts(self, post: Latent, cont: Tensor) -> tuple[Latent, Tensor]:
        """Beliefs (B, T, ...) -> (N, ...): all of them, or imagination_starts drawn at random."""
        flat, cont = Latent(*(x.flatten(0, 1) for x in post)), cont.flatten()
        wanted = self.cfg.imagination_starts
        if not 0 < wanted < len(cont):
            return flat, cont
        index = torch.randperm(len(cont), generator=self.generator, device=self.device)[:wanted]
        return Latent(*(x[index] for x in flat)), cont[index]

    def policy_arrays(self) -> dict[str, NDArray[np.float32]]:
        """What ships to an actor: Policy.arrays() of the weights as they are now."""
        with torch.no_grad():
            start = self.model.rssm.initial()
            self._policy.get_buffer("initial_h").copy_(start.h)
            self._policy.get_buffer("initial_z").copy_(start.z)
        return self._policy.arrays()

    def state_dict(self) -> dict[str, Any]:
        """Everything an exact resume needs: plain nested dicts of tensors and numbers."""
        return {
            "model": self.model.state_dict(),
            "behavior": self.behavior.state_dict(),
            "optimizers": {name: opt.adam.state_dict() for name, opt in self.optimizers.items()},
            "generator": self.generator.get_state(),
            "updates": self.updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where state_dict() was taken. Raises on another agent's state."""
        self.model.load_state_dict(state["model"])
        self.behavior.load_state_dict(state["behavior"])
        for name, opt in self.optimizers.items():
            opt.adam.load_state_dict(state["optimizers"][name])
        self.generator.set_state(state["generator"].cpu())
        self.updates = int(state["updates"])


def build_agent(
    cfg: AgentConfig,
    observations: Mapping[str, ArraySpec],
    action: ActionSpec,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> Agent:
    """The agent that cfg describes, with fresh weights drawn from `seed`."""
    return Agent(cfg, observations, action, device=device, seed=seed)
