"""Observations to an embedding and back: shapes, order of keys, ranges."""

from __future__ import annotations

import torch

from daydreamer.models.codec import Decoder, Encoder
from daydreamer.models.networks import Act, BiasAct, NormAct
from daydreamer.models.rssm import Latent
from robots.base import ArraySpec

SPECS = {
    "depth": ArraySpec((64, 64, 1), "uint8"),
    "battery": ArraySpec(()),
    "rgb": ArraySpec((64, 64, 3), "uint8"),
    "pose": ArraySpec((2, 3)),
}


def look(n: int = 2) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return {
        "depth": torch.randint(0, 256, (n, 64, 64, 1), dtype=torch.uint8, generator=g),
        "battery": torch.randn(n, generator=g),
        "rgb": torch.randint(0, 256, (n, 64, 64, 3), dtype=torch.uint8, generator=g),
        "pose": torch.randn(n, 2, 3, generator=g),
    }


def make_encoder(act: Act = NormAct) -> Encoder:
    torch.manual_seed(0)
    return Encoder(SPECS, mlp_layers=1, mlp_units=5, cnn_depth=2, symlog_vectors=False, act=act)


def test_vectors_and_images_become_one_embedding() -> None:
    encoder = make_encoder()
    # 5 of the vectors, 2 x 2 pixels of 2 * 8 channels of the images
    assert encoder.embed_size == 5 + 2 * 2 * 16
    assert encoder(look()).shape == (2, 69)


def test_every_key_reaches_the_embedding() -> None:
    encoder, obs = make_encoder(), look()
    before = encoder(obs)
    for key, x in obs.items():
        changed = encoder({**obs, key: x + 1})
        assert not torch.equal(changed, before), key


def test_first_weights_depend_on_what_follows_a_convolution_and_not_on_how_it_is_made() -> None:
    norm, other = make_encoder(), make_encoder(lambda units: NormAct(units))
    for key, x in norm.state_dict().items():
        assert torch.equal(x, other.state_dict()[key]), key
    assert not torch.equal(make_encoder(BiasAct).cnn[0].weight, norm.cnn[0].weight)


def test_images_are_seen_from_zero_to_one() -> None:
    encoder, obs = make_encoder(), look()
    pixels = torch.cat([obs["depth"], obs["rgb"]], -1).movedim(-1, 1).float() / 255
    torch.testing.assert_close(encoder(obs)[:, 5:], encoder.cnn(pixels))


def test_every_observation_is_predicted_in_its_own_shape_and_images_in_their_range() -> None:
    torch.manual_seed(0)
    decoder = Decoder(SPECS, feat_size=7, mlp_layers=1, mlp_units=5, cnn_depth=2)
    z = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    found = decoder(Latent(10 * torch.randn(2, 3), z, torch.tensor([[0, 3], [1, 2]])))
    assert {key: x.shape for key, x in found.items()} == {key: x.shape for key, x in look().items()}
    for key in ("rgb", "depth"):
        assert found[key].min() >= 0
        assert found[key].max() <= 1
