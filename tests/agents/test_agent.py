"""The whole agent: who learns from what, exact resume, skipped steps, and that it does learn."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from daydreamer.agents.agent import Agent, build_agent, frozen
from daydreamer.agents.config import AgentConfig
from daydreamer.models import fused
from daydreamer.models.distributions import symlog
from robots.base import ActionSpec, ArraySpec

SIZES = {
    "deter": 16, "units": 16, "stoch": 4, "classes": 4, "prior_layers": 1, "mlp_layers": 1,
    "mlp_units": 16,
    "cnn_depth": 2, "horizon": 4,
}  # fmt: skip
KINDS = [ActionSpec("continuous", 2), ActionSpec("discrete", 3)]
CENTERED = ("reward", "is_first", "is_terminal")


def make(action: ActionSpec, images: bool = False, **options: object) -> Agent:
    observations = {"vector": ArraySpec((3,))}
    if images:
        observations["rgb"] = ArraySpec((64, 64, 3), "uint8")
    return build_agent(AgentConfig(**{**SIZES, **options}), observations, action, seed=0)  # type: ignore[arg-type]


def rows(
    action: ActionSpec, seed: int = 0, B: int = 4, T: int = 6, images: bool = False
) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    batch = {
        "vector": torch.randn(B, T, 3, generator=g),
        "action": torch.rand(B, T, action.size, generator=g) * 2 - 1,
        "reward": torch.randn(B, T, generator=g),
        "is_first": torch.zeros(B, T, dtype=torch.bool),
        "is_terminal": torch.zeros(B, T, dtype=torch.bool),
    }
    if action.kind == "discrete":
        batch["action"] = torch.nn.functional.one_hot(
            batch["action"].argmax(-1), action.size
        ).float()
    if images:
        batch["rgb"] = torch.randint(0, 255, (B, T, 64, 64, 3), dtype=torch.uint8, generator=g)
    batch["is_first"][:, 0] = True
    return batch


def behavior_loss(agent: Agent, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    uniform = torch.rand(*batch["is_first"].shape, 4)
    post = agent.model.loss(batch, uniform).post.detach()
    start, cont = agent._starts(post, 1.0 - batch["is_terminal"].float())
    loss = agent.behavior.loss(agent.model, start, cont, torch.zeros(()), agent.generator)
    return loss.actor, loss.critic


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
@pytest.mark.parametrize("bonus", [0.0, 1.0], ids=["return-only", "with-entropy"])
def test_actor_learns_through_a_model_that_stays_untouched(
    action: ActionSpec, bonus: float
) -> None:
    agent = make(action, entropy_scale=bonus)
    agent.behavior.entropy_scale.low = 0.0  # or a scale of 0 would be lifted to 1e-5
    for param in agent.behavior.actor.parameters():  # the output layer starts near zero
        torch.nn.init.normal_(param, std=0.5)
    with frozen(agent.model):
        behavior_loss(agent, rows(action))[0].backward()
    assert all(p.grad is None for p in agent.model.parameters())
    assert all(p.grad is None for p in agent.behavior.critic.parameters())
    assert all(p.grad is not None and p.grad.any() for p in agent.behavior.actor.parameters())
    assert all(p.requires_grad for p in agent.model.encoder.parameters())


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_critic_loss_reaches_the_critic_alone(action: ActionSpec) -> None:
    agent = make(action)
    behavior_loss(agent, rows(action))[1].backward()
    assert all(p.grad is not None for p in agent.behavior.critic.parameters())
    for module in (agent.model, agent.behavior.actor, agent.behavior.slow_critic):
        assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_one_backward_gives_actor_and_critic_the_gradients_of_their_own_losses(
    action: ActionSpec,
) -> None:
    agent, batch = make(action), rows(action)
    for param in agent.behavior.parameters():
        torch.nn.init.normal_(param, std=0.5)
    expected = []
    generator, scales = agent.generator.get_state(), copy.deepcopy(agent.behavior.state_dict())
    for index, part in ((0, agent.behavior.actor), (1, agent.behavior.critic), (2, None)):
        agent.generator.set_state(generator)
        agent.behavior.load_state_dict(scales)
        torch.manual_seed(0)
        with frozen(agent.model):
            losses = behavior_loss(agent, batch)
            if part is not None:
                expected += torch.autograd.grad(losses[index], list(part.parameters()))
            else:
                sum(losses).backward()
    learning = [*agent.behavior.actor.parameters(), *agent.behavior.critic.parameters()]
    for param, gradient in zip(learning, expected, strict=True):
        assert param.grad is not None
        assert torch.equal(param.grad, gradient)


class NoHostReads(TorchDispatchMode):
    """Fails where a GPU would have to be waited for: a value or a size goes to the host."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = func.overloadpacket.__name__
        assert not name.startswith(self.NAMES), f"{func} waits for the device"
        if name in ("index", "index_put_"):
            dtypes = [x.dtype for x in args[1] if x is not None]
            assert torch.bool not in dtypes, f"{func} with a mask waits for the device"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"imagination_starts": 5, "center_rewards": True},
        {"precision": "bf16"},
        {"latents": "gaussian", "norm": "none", "reinforce_share": 0.5},
        {"explore_updates": 2, "explore_extrinsic": 0.5, "center_rewards": True},
    ],
    ids=["fp32", "fewer-starts", "bf16", "ablations", "exploring"],
)
@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "as-on-a-gpu"])
@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_nothing_inside_an_update_waits_for_the_device(
    action: ActionSpec, options: dict[str, Any], kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels:
        monkeypatch.setattr(fused, "_has_kernels", lambda x: False)
    agent = make(action, **options, slow_critic_updates=2)
    bad = rows(action, 1)
    bad["vector"][0, 2, 0] = float("nan")
    for batch in (rows(action), bad, rows(action, 2)):
        with NoHostReads():
            agent.update(batch)


def test_a_read_inside_an_update_would_be_noticed() -> None:
    for read in (lambda x: float(x.sum()), lambda x: x[x > 0], lambda x: bool((x > 0).all())):
        with NoHostReads(), pytest.raises(AssertionError, match="waits for the device"):
            read(torch.ones(3))


def test_terminal_starts_teach_nothing() -> None:
    action = KINDS[0]
    agent, batch = make(action), rows(action)
    batch["is_terminal"][:] = True
    actor, critic = (loss.detach() for loss in behavior_loss(agent, batch))
    assert float(actor) == 0.0
    assert float(critic) == 0.0


@pytest.mark.parametrize("action", KINDS, ids=lambda a: a.kind)
def test_restart_in_the_middle_changes_nothing(action: ActionSpec) -> None:
    straight = make(action)
    broken = make(action)
    for step in range(3):
        straight.update(rows(action, step))
        broken.update(rows(action, step))
    state = copy.deepcopy(broken.state_dict())
    resumed = build_agent(broken.cfg, {"vector": ArraySpec((3,))}, action, seed=99)
    resumed.load_state_dict(state)
    for step in range(3, 6):
        expected = straight.update(rows(action, step))
        found = resumed.update(rows(action, step))
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    for name, x in straight.model.state_dict().items():
        assert torch.equal(x, resumed.model.state_dict()[name])
    assert resumed.updates == 6


def test_a_batch_that_is_not_finite_is_skipped_and_harms_nothing() -> None:
    action = KINDS[0]
    agent = make(action)
    agent.update(rows(action))
    before = {name: x.clone() for name, x in agent.model.state_dict().items()}
    batch = rows(action, 1)
    batch["vector"][0, 2, 0] = float("nan")
    assert float(agent.update(batch)["bad"]) >= 1
    for name, x in agent.model.named_parameters():
        assert torch.equal(x, before[name]), name
    metrics = agent.update(rows(action, 2))
    assert float(metrics["bad"]) == 0
    assert all(bool(torch.isfinite(x).all()) for x in metrics.values())


def test_slow_critic_follows_at_its_period_only() -> None:
    action = KINDS[0]
    agent = make(action, slow_critic_updates=3)

    def equal() -> bool:
        pairs = zip(
            agent.behavior.critic.parameters(), agent.behavior.slow_critic.parameters(), strict=True
        )
        return all(torch.equal(a, b) for a, b in pairs)

    slow = []
    for step in range(4):
        agent.update(rows(action, step))
        assert not equal()  # the critic moved after the copy
        slow.append([p.clone() for p in agent.behavior.slow_critic.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(slow[0], slow[2], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(slow[2], slow[3], strict=True))


def test_imagination_can_start_from_a_random_share_of_the_rows() -> None:
    agent = make(KINDS[0], imagination_starts=5)
    batch = rows(KINDS[0])
    post = agent.model.loss(batch, torch.rand(4, 6, 4)).post.detach()
    cont = torch.arange(24.0).view(4, 6)
    start, chosen = agent._starts(post, cont)
    assert start.h.shape == (5, 16)
    assert len(set(chosen.tolist())) == 5
    for h, row in zip(start.h, chosen.long(), strict=True):
        assert torch.equal(h, post.h.flatten(0, 1)[row])


def test_next_observation_equal_to_the_last_action_is_learned_open_loop() -> None:
    """An action off by one trains as well, but then imagination is wrong by a step."""
    action = ActionSpec("discrete", 3)
    agent = make(action, model_lr=1e-2, kl_target_nats=0.5)
    for step in range(120):
        batch = rows(action, step, B=8)
        batch["vector"] = batch["action"].clone()
        agent.update(batch)
    batch = rows(action, 999, B=8)
    batch["vector"] = batch["action"].clone()
    with torch.no_grad():
        start = agent.model.rssm.observe(
            agent.model.embed(batch), batch["action"], batch["is_first"], torch.rand(8, 6, 4)
        )[0]
        latent = type(start)(*(x[:, -1] for x in start))
        wanted = torch.eye(3)[torch.randint(0, 3, (8,), generator=torch.Generator().manual_seed(5))]
        latent = agent.model.rssm.imagine_step(latent, wanted, torch.rand(8, 4))
        found = agent.model.decoder(latent)["vector"]
    assert (found.argmax(-1) == wanted.argmax(-1)).float().mean() >= 0.85


def test_symlogged_vectors_are_seen_and_predicted_squashed() -> None:
    agent, plain = make(KINDS[0], symlog_vectors=True), make(KINDS[0])
    batch = rows(KINDS[0])
    squashed = {**batch, "vector": symlog(batch["vector"])}
    uniform = torch.rand(4, 6, 4)
    found = agent.model.loss(batch, uniform).metrics["vector_loss"]
    expected = plain.model.loss(squashed, uniform).metrics["vector_loss"]
    torch.testing.assert_close(found, expected)


def test_imagined_actions_are_clipped_as_executed_ones_are_and_still_learn() -> None:
    agent = make(KINDS[0], clip_imagined=True, max_std=5.0, entropy_scale=0.0)
    for param in agent.behavior.actor.parameters():
        torch.nn.init.normal_(param, std=0.5)
    batch = rows(KINDS[0])
    post = agent.model.loss(batch, torch.rand(4, 6, 4)).post.detach()
    start, _ = agent._starts(post, torch.ones(4, 6))
    with frozen(agent.model):
        imagined = agent.behavior.imagine(agent.model, start, agent.generator)
        assert imagined.action.detach().abs().max() == 1.0
        imagined.ahead.feat.square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in agent.behavior.actor.parameters())


def test_means_far_from_zero_cost_what_the_penalty_says() -> None:
    losses = []
    for penalty in (0.0, 0.5):
        agent = make(KINDS[0], mean_penalty=penalty)
        last = agent.behavior.actor.mlp.blocks[-1]
        torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        with torch.no_grad():
            last.bias.copy_(torch.tensor([1.0, 2.0, 0.0, 0.0]))  # type: ignore[union-attr,operator]
        torch.manual_seed(0)
        losses.append(float(behavior_loss(agent, rows(KINDS[0]))[0].detach()))
    assert losses[1] - losses[0] == pytest.approx(0.5 * (1.0**2 + 2.0**2), rel=1e-5)


def test_centered_rewards_hide_a_constant_from_the_critic() -> None:
    """Two tasks that differ by a constant reward of 5 get the same returns."""
    returns = []
    for constant in (0.0, 5.0):
        agent = make(KINDS[0], center_rewards=True, discount=0.9)
        batch = rows(KINDS[0])
        batch["reward"] = torch.full_like(batch["reward"], constant)
        torch.nn.init.zeros_(agent.model.reward.blocks[-1].weight)  # type: ignore[arg-type]
        torch.nn.init.constant_(
            agent.model.reward.blocks[-1].bias,  # type: ignore[arg-type]
            math.log1p(constant + 1),  # the head says: one more than the replayed mean
        )
        post = agent.model.loss(batch, torch.rand(4, 6, 4)).post.detach()
        start, cont = agent._starts(post, torch.ones(4, 6))
        torch.nn.init.zeros_(agent.behavior.slow_critic.blocks[-1].weight)  # type: ignore[arg-type]
        torch.nn.init.constant_(agent.model.cont.blocks[-1].bias, 50.0)  # type: ignore[arg-type]
        torch.nn.init.zeros_(agent.model.cont.blocks[-1].weight)  # type: ignore[arg-type]
        center = agent.reward_center.update(*(batch[key] for key in CENTERED))
        loss = agent.behavior.loss(agent.model, start, cont, center, agent.generator)
        returns.append(float(loss.metrics["imagined_return"]))
    # (1 - 0.9) * 1 a step, lambda 0.95, four steps, value 0: with x = 0.9 * 0.95 = 0.855
    # R_3 = 0.1, R_2 = 0.1 (1 + x), ...: mean 0.1 (4 + 3 x + 2 x^2 + x^3) / 4 = 0.216299
    assert returns[0] == pytest.approx(returns[1], rel=1e-4)
    assert returns[0] == pytest.approx(0.216299, rel=1e-3)


def test_images_and_vectors_train_together() -> None:
    action = KINDS[0]
    agent = make(action, images=True, model_lr=3e-3)
    batch = rows(action, images=True, B=2, T=3)
    batch["rgb"] = batch["rgb"] // 8  # dark: away from the 0.5 that an untrained decoder says
    first = agent.update(batch)
    for _ in range(8):
        last = agent.update(batch)
    assert float(last["model/rgb_loss"]) < float(first["model/rgb_loss"])
    assert float(last["model/vector_loss"]) < float(first["model/vector_loss"])


def test_each_part_has_the_optimizer_that_its_options_say() -> None:
    rates = {"model_lr": 1e-2, "actor_lr": 1e-3, "critic_lr": 1e-4}
    agent = make(KINDS[0], **rates, adam_eps=1e-5, grad_clip=7.0, weight_decay=0.3)
    for name, opt in agent.optimizers.items():
        kernels, others = opt.adam.param_groups
        assert kernels["lr"] == others["lr"] == rates[f"{name}_lr"]
        assert (kernels["eps"], opt.clip) == (1e-5, 7.0)
        assert (kernels["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    owned = [len(opt.params) for opt in agent.optimizers.values()]
    parts = (agent.model, agent.behavior.actor, agent.behavior.critic)
    assert owned == [len(list(part.parameters())) for part in parts]


def test_fixed_kl_scale_stays_fixed() -> None:
    agent = make(KINDS[0], kl_adapt=False, kl_scale=0.3)
    for step in range(5):
        metrics = agent.update(rows(KINDS[0], step))
    assert float(metrics["model/kl_scale"]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        ("deter", 0, "at least 1"),
        ("discount", 1.0, "between 0 and 1"),
        ("precision", "fp8", "fp32 or bf16"),
        ("kl_scale", 0.0, "a positive number"),
        ("reward_scale", -1.0, "0 or a positive number"),
        ("mean_penalty", float("nan"), "0 or a positive number"),
    ],
)
def test_impossible_options_are_refused_with_advice(
    option: str, value: object, advice: str
) -> None:
    with pytest.raises(ValueError, match=rf"agent\.{option}=.*{advice}"):
        AgentConfig(**{option: value})  # type: ignore[arg-type]
