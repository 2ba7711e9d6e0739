"""torchrl's DreamerV3 as a contestant: its modules, losses, optimizer and optimization stepper.

Runs in the peers' own environment. torchrl ships the parts and the update, and leaves the agent to
its user: it is put together here the way the documentation of DreamerV3Loss does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daydreamer.bench.peers.serving import serve

BINS = 255  # of rewards and values, as in the paper
UNIMIX = 0.01
FEATURES = ["state", "belief"]
NEXT_FEATURES = [("next", "state"), ("next", "belief")]


class TorchrlTrainee:
    """DreamerV3OptimizationStepper on a synthetic batch."""

    def __init__(self, sizes: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        import torch
        import torchrl
        from tensordict import TensorDict
        from torchrl.objectives import SoftUpdate
        from torchrl.trainers.algorithms import DreamerV3OptimizationStepper, DreamerV3Optimizer

        self._torch = torch
        self.versions: Mapping[str, str] = {
            "torchrl": torchrl.__version__,
            "torch": torch.__version__,
        }
        torch.set_num_threads(options["threads"])
        torch.manual_seed(0)
        loss, value_loss, self._policy = _agent(sizes)
        rows = _rows(torch, sizes)
        lead = (sizes["batch"], sizes["length"])
        self._batch = TensorDict(rows, lead)
        self._needs_warmup = is_compiled = bool(options.get("compile", False))
        self._stepper = DreamerV3OptimizationStepper(
            loss,
            DreamerV3Optimizer(loss.parameters()),
            SoftUpdate(value_loss, tau=0.02),
            compile_train_step=is_compiled,
        )
        width = sizes["stoch"] * sizes["classes"]
        self._carried = TensorDict(
            {
                "state": torch.zeros(1, width),
                "belief": torch.zeros(1, sizes["deter"]),
                "previous_action": torch.zeros(1, sizes["action"]),
                "is_init": torch.zeros(1, 1, dtype=torch.bool),
            },
            [1],
        )
        keys = [key for key in ("vector", "image") if key in rows["next"]]
        self._obs = {key: rows["next"][key][0, :1].numpy() for key in keys}

    def update(self) -> None:
        """Losses, one backward pass, the optimizer, the target critic."""
        if self._needs_warmup:
            self._stepper.warmup(self._batch.clone())
            self._needs_warmup = False
        self._stepper.step(None, self._batch.clone(recurse=False))

    def act(self) -> None:
        """Encode, advance the belief, sample an action."""
        torch, carried = self._torch, self._carried
        with torch.inference_mode():
            for key, value in self._obs.items():
                carried[key] = torch.from_numpy(value.copy())
            found = self._policy(carried.clone(recurse=False))
            found["action"].numpy()
            self._carried = carried.update(found.select(*FEATURES))
            self._carried["previous_action"] = found["action"]


def _agent(sizes: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """DreamerV3Loss, its value loss, and the acting policy, which share their networks."""
    from tensordict.nn import (
        NormalParamExtractor,
        ProbabilisticTensorDictModule,
        ProbabilisticTensorDictSequential,
        TensorDictSequential,
    )
    from tensordict.nn import TensorDictModule as Module
    from torch import nn
    from torchrl.data import Bounded, Composite, Unbounded
    from torchrl.envs.model_based import DreamerEnv
    from torchrl.modules import (
        DreamerV3MLP,
        RSSMPosteriorV3,
        RSSMPriorV3,
        RSSMRolloutV3,
        RSSMStateEstimatorV3,
        SymExpTwoHot,
        TanhNormal,
        WorldModelWrapper,
    )
    from torchrl.objectives import (
        DreamerV3ActorLoss,
        DreamerV3Loss,
        DreamerV3ModelLoss,
        DreamerV3ValueLoss,
    )

    width, deter, actions = sizes["stoch"] * sizes["classes"], sizes["deter"], sizes["action"]

    def head(outputs: int) -> Any:
        depth, cells = sizes["mlp_layers"], sizes["mlp_units"]
        return DreamerV3MLP(width + deter, outputs, depth=depth, num_cells=cells)

    looks, embed_size, decoders = _sight(sizes)
    latent = {"num_categoricals": sizes["stoch"], "num_classes": sizes["classes"]}
    shared = {**latent, "hidden_dim": sizes["units"], "rnn_hidden_dim": deter, "unimix": UNIMIX}
    prior = RSSMPriorV3(action_shape=(actions,), action_dim=actions, **shared)
    posterior = RSSMPosteriorV3(obs_embed_dim=embed_size, use_rms_norm=True, **shared)
    reward, cont, two_hot = head(BINS), head(1), SymExpTwoHot(BINS)
    world_model = TensorDictSequential(
        *looks("next"),
        RSSMRolloutV3(
            Module(
                prior,
                in_keys=["state", "belief", "action"],
                out_keys=[("next", "prior_logits"), ("next", "state"), ("next", "belief")],
            ),
            Module(
                posterior,
                in_keys=[("next", "belief"), ("next", "encoded_latents")],
                out_keys=[("next", "posterior_logits"), ("next", "state")],
            ),
        ),
        *(
            Module(decoder, in_keys=NEXT_FEATURES, out_keys=[("next", f"reco_{key}")])
            for key, decoder in decoders.items()
        ),
        Module(reward, in_keys=NEXT_FEATURES, out_keys=[("next", "reward_logits")]),
        Module(two_hot, in_keys=[("next", "reward_logits")], out_keys=[("next", "reward")]),
        Module(cont, in_keys=NEXT_FEATURES, out_keys=[("next", "continue_pred")]),
    )
    imagined = DreamerEnv(
        WorldModelWrapper(
            Module(
                prior,
                in_keys=["state", "belief", "action"],
                out_keys=["_", "state", "belief"],
            ),
            TensorDictSequential(
                Module(reward, in_keys=FEATURES, out_keys=["reward_logits"]),
                Module(two_hot, in_keys=["reward_logits"], out_keys=["reward"]),
            ),
        ),
        prior_shape=(width,),
        belief_shape=(deter,),
    )
    imagined.observation_spec = Composite(state=Unbounded(width), belief=Unbounded(deter))
    imagined.state_spec = imagined.observation_spec.clone()
    imagined.action_spec = Bounded(-1, 1, (actions,))
    imagined.reward_spec = Unbounded((1,))
    actor = ProbabilisticTensorDictSequential(
        Module(head(2 * actions), in_keys=FEATURES, out_keys=["params"]),
        Module(NormalParamExtractor(), in_keys=["params"], out_keys=["loc", "scale"]),
        ProbabilisticTensorDictModule(
            in_keys=["loc", "scale"],
            out_keys=["action"],
            distribution_class=TanhNormal,
            default_interaction_type="random",
            return_log_prob=True,
        ),
    )
    value = TensorDictSequential(
        Module(head(BINS), in_keys=FEATURES, out_keys=["state_value_logits"]),
        Module(SymExpTwoHot(BINS), in_keys=["state_value_logits"], out_keys=["state_value"]),
    )
    continuation = TensorDictSequential(
        Module(cont, in_keys=FEATURES, out_keys=["continue_logits"]),
        Module(nn.Sigmoid(), in_keys=["continue_logits"], out_keys=["continuation"]),
    )
    model_loss = DreamerV3ModelLoss(
        world_model,
        lambda_continue=1.0,
        kl_mode="separate",
        unimix=UNIMIX,
        reco_symlog=[key != "image" for key in decoders],
    )
    model_loss.set_keys(pixels=list(decoders), reco_pixels=[f"reco_{key}" for key in decoders])
    actor_loss = DreamerV3ActorLoss(
        actor,
        value,
        imagined,
        continuation_model=continuation,
        imagination_horizon=sizes["horizon"],
    )
    value_loss = DreamerV3ValueLoss(
        value, value_loss="two_hot", actor_loss=actor_loss, slow_critic_regularization=1.0
    )
    # The critic learns from imagination alone, as ours does.
    loss = DreamerV3Loss(model_loss, actor_loss, value_loss, replay_value_loss_weight=0.0)
    policy = TensorDictSequential(*looks(None), RSSMStateEstimatorV3(prior, posterior), actor)
    return loss, value_loss, policy


def _sight(sizes: Mapping[str, Any]) -> tuple[Any, int, dict[str, Any]]:
    """How observations are encoded (given where they lie), into how much, and the decoders."""
    import torch
    from tensordict.nn import TensorDictModule as Module
    from torch import nn
    from torchrl.modules import DreamerV3ImageDecoder, DreamerV3ImageEncoder, DreamerV3MLP

    depth, cells = sizes["mlp_layers"], sizes["mlp_units"]
    features = sizes["stoch"] * sizes["classes"] + sizes["deter"]
    encoders: dict[str, Any] = {
        "vector": DreamerV3MLP(sizes["vector"], None, depth=depth, num_cells=cells)
    }
    decoders: dict[str, Any] = {
        "vector": DreamerV3MLP(features, sizes["vector"], depth=depth, num_cells=cells)
    }
    embed_size = cells
    if sizes["image"]:
        height, width, channels = sizes["image"]
        shape, cnn = (channels, height, width), {"depth": sizes["cnn_depth"], "mults": (1, 2, 4, 8)}
        encoders["image"] = DreamerV3ImageEncoder(channels, **cnn)
        decoders["image"] = DreamerV3ImageDecoder(features, shape, num_blocks=1, **cnn)
        embed_size += encoders["image"].output_features(shape)

    class Join(nn.Module):
        """Embeddings side by side."""

        def forward(self, *parts: Any) -> Any:
            return torch.cat(parts, -1)

    def looks(where: str | None) -> list[Any]:
        def at(key: str) -> Any:
            return key if where is None else (where, key)

        parts = [at(f"embedded_{key}") for key in encoders]
        return [
            *(
                Module(encoder, in_keys=[at(key)], out_keys=[part])
                for (key, encoder), part in zip(encoders.items(), parts, strict=True)
            ),
            Module(Join(), in_keys=parts, out_keys=[at("encoded_latents")]),
        ]

    return looks, embed_size, decoders


def _rows(torch: Any, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Noise, batch first: (B, T, ...)."""
    lead = (sizes["batch"], sizes["length"])
    never = torch.zeros(*lead, 1, dtype=torch.bool)
    after = {
        "vector": torch.randn(*lead, sizes["vector"]),
        "reward": torch.randn(*lead, 1),
        "done": never,
        "terminated": never,
    }
    if sizes["image"]:
        height, width, channels = sizes["image"]
        shape = (*lead, channels, height, width)
        after["image"] = torch.randint(0, 256, shape, dtype=torch.uint8)
    first = never.clone()
    first[:, 0] = True
    return {
        "state": torch.zeros(*lead, sizes["stoch"] * sizes["classes"]),
        "belief": torch.zeros(*lead, sizes["deter"]),
        "action": 2 * torch.rand(*lead, sizes["action"]) - 1,
        "is_init": first,
        "next": after,
    }


def build(request: Mapping[str, Any]) -> TorchrlTrainee:
    """The sizes and options of a request."""
    return TorchrlTrainee(request["sizes"], request)


if __name__ == "__main__":
    serve(build)
