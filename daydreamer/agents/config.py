"""Options of the DayDreamer agent. Imports no torch: the command line reads it."""

from __future__ import annotations

from dataclasses import dataclass

_COUNTS = (
    "deter",
    "units",
    "stoch",
    "prior_layers",
    "post_layers",
    "mlp_layers",
    "mlp_units",
    "cnn_depth",
    "horizon",
    "slow_critic_updates",
    "explore_models",
)
_POSITIVE = (
    "model_lr",
    "actor_lr",
    "critic_lr",
    "adam_eps",
    "grad_clip",
    "kl_target_nats",
    "kl_scale",
)
_NOT_NEGATIVE = (
    "vector_scale",
    "image_scale",
    "reward_scale",
    "cont_scale",
    "entropy_scale",
    "mean_penalty",
    "explore_updates",
    "explore_extrinsic",
    "weight_decay",
)


def _require(ok: bool, found: str, expected: str) -> None:
    if not ok:
        raise ValueError(f"{found}: choose {expected}")


@dataclass
class AgentConfig:
    """Sizes, losses and optimizers of one agent. Defaults are DayDreamer's for the A1."""

    name: str = "daydreamer"

    # World model: sizes.
    deter: int = 256  # recurrent state h
    units: int = 256  # hidden units inside the RSSM
    latents: str = "categorical"  # or gaussian: z of `stoch` normal variables, no classes
    stoch: int = 32  # latent variables ...
    classes: int = 32  # ... of this many classes each
    prior_layers: int = 3
    post_layers: int = 1
    mlp_layers: int = 4  # vector encoder and decoder, and every head
    mlp_units: int = 512
    norm: str = "layer"  # layer norm after products outside of the GRU; none: a bias in its place
    gru_norm: bool = True  # layer norm inside the GRU
    cnn_depth: int = 64  # channels of the first convolution; doubles with each of four
    symlog_vectors: bool = False  # see and predict vectors through symlog (DreamerV3)
    unimix: float = 0.01  # share of uniform in every latent categorical: keeps the KL finite
    initial: str = "learned"  # first recurrent state: learned or zeros

    # World model: losses.
    kl_balance: float = 0.8  # weight of KL(sg(post) || prior), which trains the prior
    kl_target_nats: float = 3.5  # set-point of the adaptive KL scale
    kl_adapt: bool = True  # False: the scale stays at kl_scale
    kl_scale: float = 1.0  # first (or fixed) scale
    vector_scale: float = 1.0
    image_scale: float = 1.0
    reward_scale: float = 1.0
    cont_scale: float = 1.0
    decoder_gradient: bool = True  # False: only the decoder itself learns from its losses
    reward_gradient: bool = True  # False: only the reward head itself learns from its loss

    # Behaviour.
    horizon: int = 15  # imagined steps
    imagination_starts: int = 0  # replayed states to imagine from, drawn at random; 0: all
    discount: float = 0.995
    return_lambda: float = 0.95
    slow_critic_updates: int = 100  # updates between two copies into the slow critic
    # In the actor's gradient; the rest comes back through the dynamics.
    reinforce_share: float | None = None  # 0 to 1; null: 1 for discrete actions, else 0
    min_std: float = 0.1  # continuous actor: smallest and ...
    max_std: float = 1.0  # ... largest standard deviation
    # Continuous actor on the robot: correlation of its noise from one control step to the next, 0:
    # white (cf. Eberhard et al. 2023, "Pink noise is all you need"). The spread stays its own.
    noise_correlation: float = 0.0
    mean_penalty: float = 0.0  # continuous actor: weight of its means squared, before the tanh
    clip_imagined: bool = False  # imagine with actions clipped to [-1, 1], as they are executed
    actor_unimix: float = 0.1  # discrete actor: share of uniform
    entropy_target: float = 0.5  # normalised entropy that the adaptive scale holds
    entropy_adapt: bool = True  # False: the scale stays at entropy_scale
    entropy_scale: float = 1.0  # first (or fixed) scale of the entropy bonus
    advantage_norm: bool = True
    # Learn values of (reward - its replayed mean) * (1 - discount): a large constant reward then
    # hides no difference (reward centering, Naik et al. 2024). The mean counts as 0 from the first
    # replayed row on that terminates an episode: living on is then worth what it pays.
    center_rewards: bool = False

    # Exploration: Plan2Explore chooses what the robot does for so many updates, then the task does;
    # what learns the task learns all along. `eval` shows the task's policy. Dreamed updates count.
    explore_updates: int = 0  # 0: never; such an update takes two to four times as long
    explore_models: int = 8  # one-step models whose disagreement is the reward
    # Exploring is paid disagreement / its running mean + explore_extrinsic * the task's reward: the
    # reward minus its replayed mean where center_rewards is on, else as it is.
    explore_extrinsic: float = 0.0

    # Optimizers.
    model_lr: float = 1e-4
    actor_lr: float = 1e-4
    critic_lr: float = 1e-4
    adam_eps: float = 1e-6
    grad_clip: float = 100.0
    weight_decay: float = 1e-2  # decoupled, on kernels only: w <- (1 - lr * weight_decay) * w

    # Of an update's matrix products. auto: bf16 where the processor has instructions for it.
    precision: str = "fp32"

    def __post_init__(self) -> None:
        """Refuse what no agent can be built from."""
        for key in _COUNTS:
            value = getattr(self, key)
            _require(value >= 1, f"agent.{key}={value}", "at least 1")
        _require(self.classes >= 2, f"agent.classes={self.classes}", "at least 2")
        starts = self.imagination_starts
        _require(starts >= 0, f"agent.imagination_starts={starts}", "0 for all, or how many")
        for key in (
            "unimix",
            "kl_balance",
            "return_lambda",
            "actor_unimix",
            "entropy_target",
            "noise_correlation",
        ):
            value = getattr(self, key)
            _require(0 <= value <= 1, f"agent.{key}={value}", "a number from 0 to 1")
        share = self.reinforce_share
        _require(
            share is None or 0 <= share <= 1,
            f"agent.reinforce_share={share}",
            "a number from 0 to 1, or null",
        )
        discount = self.discount
        _require(0 < discount < 1, f"agent.discount={discount}", "a number between 0 and 1")
        _require(
            0 < self.min_std < self.max_std,
            f"agent.min_std={self.min_std}",
            f"a number between 0 and agent.max_std={self.max_std}",
        )
        for key in _POSITIVE:
            value = getattr(self, key)
            _require(value > 0, f"agent.{key}={value}", "a positive number")
        for key in _NOT_NEGATIVE:
            value = getattr(self, key)
            _require(value >= 0, f"agent.{key}={value}", "0 or a positive number")
        choices = {
            "name": ("daydreamer",),
            "latents": ("categorical", "gaussian"),
            "norm": ("layer", "none"),
            "initial": ("learned", "zeros"),
            "precision": ("fp32", "bf16", "auto"),
        }
        for key, allowed in choices.items():
            value = getattr(self, key)
            _require(value in allowed, f"agent.{key}={value}", " or ".join(allowed))
