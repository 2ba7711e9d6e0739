"""sheeprl's DreamerV2 and DreamerV3 as contestants: its configs, its `train`, its player.

Runs in the peers' own environment. What its main loop does for one gradient step is what is timed:
the target critic's copy, then `train`. Its metrics are off, which is its fastest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daydreamer.bench.peers.serving import serve


def overrides(algorithm: str, sizes: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Words for hydra that bring sheeprl's own config to a workload."""
    image = "[image]" if sizes["image"] else "[]"
    units = sizes["units"]
    words = {
        "exp": algorithm,
        "algo": algorithm,  # plain: DreamerV3's experiment would choose a size
        "env": "dummy",
        "env.id": "continuous_dummy",
        "metric.log_level": 0,
        "model_manager.disabled": True,
        "fabric.precision": options.get("precision", "32-true"),
        "algo.per_rank_batch_size": sizes["batch"],
        "algo.per_rank_sequence_length": sizes["length"],
        "algo.horizon": sizes["horizon"],
        "algo.mlp_layers": sizes["mlp_layers"],
        "algo.dense_units": sizes["mlp_units"],
        "algo.mlp_keys.encoder": "[vector]",
        "algo.mlp_keys.decoder": "[vector]",
        "algo.cnn_keys.encoder": image,
        "algo.cnn_keys.decoder": image,
        "algo.world_model.stochastic_size": sizes["stoch"],
        "algo.world_model.discrete_size": sizes["classes"],
        "algo.world_model.recurrent_model.recurrent_state_size": sizes["deter"],
        "algo.world_model.recurrent_model.dense_units": units,
        "algo.world_model.transition_model.hidden_size": units,
        "algo.world_model.representation_model.hidden_size": units,
        "algo.world_model.encoder.cnn_channels_multiplier": sizes["cnn_depth"],
        "algo.compile.enabled": bool(options.get("compile", False)),
    }
    if algorithm == "dreamer_v2":
        # Off by default; both belong to the workload.
        words |= {"algo.layer_norm": True, "algo.world_model.use_continues": True}
    return [f"{key}={value}" for key, value in words.items()]


class SheeprlTrainee:
    """One of sheeprl's Dreamers on a synthetic batch."""

    def __init__(
        self, algorithm: str, sizes: Mapping[str, Any], options: Mapping[str, Any]
    ) -> None:
        import importlib

        import gymnasium as gym
        import hydra
        import numpy as np
        import sheeprl
        import torch
        from hydra import compose, initialize_config_dir
        from omegaconf import OmegaConf
        from sheeprl.utils.metric import MetricAggregator
        from sheeprl.utils.timer import timer
        from sheeprl.utils.utils import dotdict

        self._torch = torch
        torch.set_num_threads(options["threads"])
        self.versions: Mapping[str, str] = {
            "sheeprl": sheeprl.__version__,
            "torch": torch.__version__,
        }
        configs = Path(sheeprl.__file__).parent / "configs"
        with initialize_config_dir(str(configs), version_base="1.3"):
            composed = compose("config", overrides(algorithm, sizes, options))
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        self._cfg = cfg = dotdict(plain)
        # The rest of sheeprl.cli.run_algorithm, but for the environments and loggers.
        torch.set_float32_matmul_precision(cfg.float32_matmul_precision)
        torch.distributions.Distribution.set_default_validate_args(cfg.distribution.validate_args)
        MetricAggregator.disabled = timer.disabled = True
        self._fabric = fabric = hydra.utils.instantiate(cfg.fabric, _convert_="all", callbacks=[])
        fabric.seed_everything(0)
        self._algorithm = importlib.import_module(f"sheeprl.algos.{algorithm}.{algorithm}")
        self._prepare = importlib.import_module(f"sheeprl.algos.{algorithm}.utils").prepare_obs

        spaces: dict[str, gym.Space[Any]] = {
            "vector": gym.spaces.Box(-np.inf, np.inf, (sizes["vector"],), np.float32)
        }
        if sizes["image"]:
            height, width, channels = sizes["image"]
            spaces["image"] = gym.spaces.Box(
                low=0, high=255, shape=(channels, height, width), dtype=np.uint8
            )
        actions = (sizes["action"],)
        *self._nets, self._player = self._algorithm.build_agent(
            fabric, actions, True, cfg, gym.spaces.Dict(spaces)
        )
        world_model, actor, self._critic, self._target = self._nets
        make = getattr(self._algorithm, "build_optimizer", _make_optimizer)
        self._optimizers = fabric.setup_optimizers(
            make(cfg.algo.world_model.optimizer, world_model.parameters()),
            make(cfg.algo.actor.optimizer, actor.parameters()),
            make(cfg.algo.critic.optimizer, self._critic.parameters()),
        )
        self._last: tuple[Any, ...] = (actions,)
        if algorithm == "dreamer_v3":
            moments = cfg.algo.actor.moments
            spread = (moments.percentile.low, moments.percentile.high)
            made = self._algorithm.Moments(moments.decay, moments.max, *spread)
            self._last = (True, actions, made)
        self._updates = 0
        rng = np.random.default_rng(0)
        self._batch = {
            key: torch.from_numpy(value).float() for key, value in _rows(rng, sizes).items()
        }
        self._obs = {key: space.sample()[None] for key, space in spaces.items()}
        self._player.num_envs = 1
        self._is_first = True

    def update(self) -> None:
        """The body of the main loop's `for batch in batches`."""
        critic = self._cfg.algo.critic
        if self._updates % critic.per_rank_target_network_update_freq == 0:
            tau = 1 if self._updates == 0 else critic.get("tau", 1)  # DreamerV2 copies
            pairs = zip(self._critic.module.parameters(), self._target.parameters(), strict=True)
            for online, target in pairs:
                target.data.copy_(tau * online.data + (1 - tau) * target.data)
        batch = dict(self._batch)
        self._algorithm.train(
            self._fabric, *self._nets, *self._optimizers, batch, None, self._cfg, *self._last
        )
        self._updates += 1

    def act(self) -> None:
        """The main loop's choice of an action."""
        keys = self._cfg.algo.cnn_keys.encoder
        with self._torch.inference_mode():
            if self._is_first:
                self._player.init_states()
                self._is_first = False
            obs = self._prepare(self._fabric, self._obs, cnn_keys=keys, num_envs=1)
            actions = self._player.get_actions(obs, mask=None)
            self._torch.cat(actions, -1).cpu().numpy()


def _make_optimizer(cfg: Any, parameters: Any) -> Any:
    import hydra

    return hydra.utils.instantiate(cfg, params=parameters, _convert_="all")


def _rows(rng: Any, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """Noise, time first as sheeprl's replay has it: (T, B, ...)."""
    import numpy as np

    lead = (sizes["length"], sizes["batch"])
    rows = {
        "vector": rng.standard_normal((*lead, sizes["vector"])),
        "actions": rng.uniform(-1, 1, (*lead, sizes["action"])),
        "rewards": rng.standard_normal((*lead, 1)),
        **{key: np.zeros((*lead, 1)) for key in ("is_first", "terminated", "truncated")},
    }
    if sizes["image"]:
        height, width, channels = sizes["image"]
        rows["image"] = rng.integers(0, 256, (*lead, channels, height, width))
    return rows


def build(request: Mapping[str, Any]) -> SheeprlTrainee:
    """The algorithm and options of a request."""
    return SheeprlTrainee(request["algorithm"], request["sizes"], request)


if __name__ == "__main__":
    serve(build)
