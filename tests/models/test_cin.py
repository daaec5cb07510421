from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.contrastive import contrastive_loss
from fpcn_lightning.models.backbones import Backbone, FeatureMaps
from fpcn_lightning.models.cin import CIN, neighbour_means
from fpcn_lightning.profiling import cost


class FixedMaps(Backbone):
    """Replaces a backbone: the same maps for all images."""

    def __init__(self, maps: Tensor) -> None:
        nn.Module.__init__(self)
        self.maps = maps

    def forward(self, images: Tensor) -> FeatureMaps:
        return FeatureMaps(self.maps, None)


def cin(maps: Tensor | None = None, **options: Any) -> CIN:
    torch.manual_seed(0)
    network = CIN(3, 64, options.pop("backbone", "test_resnet"), pretrained=False, **options)
    if maps is not None:
        network.backbone = FixedMaps(maps)
        network.to(maps.dtype)
    return network


def random_maps(count: int, height: int = 4, width: int = 3) -> Tensor:
    """As after a ReLU: many entries are exactly 0."""
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, 96, height, width, generator=generator, dtype=torch.float64).relu()


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def convolved(network: CIN, maps: Tensor) -> Tensor:
    """phi as in the paper: a 3 x 3 convolution of maps [C, H, W]."""
    weight = network.phi.weight.reshape(len(maps), len(maps), 3, 3)
    return functional.conv2d(maps.unsqueeze(0), weight, network.phi.bias, padding=1).squeeze(0)


def attention(network: CIN, maps: Tensor) -> Tensor:
    rows = maps.flatten(1)
    scale = rows.shape[1] if network.attention_scale == "mean" else 1
    return torch.stack([(-(rows @ row) / scale).softmax(0) for row in rows])


def mixed(weights: Tensor, maps: Tensor) -> Tensor:
    return (weights @ maps.flatten(1)).reshape(maps.shape)


@pytest.mark.parametrize(("backbone", "parameters"), [("resnet50", 61_668_616), ("resnet101", 80_660_744)])
def test_parameters_of_self_channel_interaction(backbone: str, parameters: int) -> None:
    network = CIN(200, 64, backbone, pretrained=False)
    assert cost.parameters(network.phi) == 37_750_784
    assert cost.parameters(network.embed) == 1_049_088
    assert cost.parameters(network.psi) == 2 * 2048 + 1
    assert cost.parameters(network) - cost.parameters(network.psi) - cost.parameters(network.embed) == parameters


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 2), (5, 3)])
def test_mean_of_a_convolution_is_linear_in_the_means_of_its_windows(size: tuple[int, int]) -> None:
    maps, convolution = torch.randn(2, 5, *size), nn.Conv2d(5, 7, kernel_size=3, padding=1)
    means = neighbour_means(maps)
    assert means.shape == (2, 5, 9)
    found = functional.linear(means.flatten(1), convolution.weight.flatten(1), convolution.bias)
    torch.testing.assert_close(found, convolution(maps).mean((2, 3)))
    torch.testing.assert_close(means[:, :, 4], maps.mean((2, 3)))


@torch.no_grad()
@pytest.mark.parametrize("scale", ["mean", "none"])
def test_self_channel_interaction_agrees_with_a_loop(scale: Any) -> None:
    maps = random_maps(3)
    network = cin(maps, attention_scale=scale)
    predictions = network(pictures(3))
    views = network.views(pictures(3), torch.tensor([0, 1, 2]))
    for image, x in enumerate(maps):
        z = convolved(network, mixed(attention(network, x), x)) + x
        torch.testing.assert_close(views.features[image], z.mean((1, 2)))
        torch.testing.assert_close(predictions[image], network.head.weight @ z.mean((1, 2)) + network.head.bias)
    torch.testing.assert_close(views.logits, predictions)
    assert views.targets.tolist() == [0, 1, 2]


@torch.no_grad()
def test_contrastive_channel_interaction_agrees_with_a_loop() -> None:
    maps, labels = random_maps(4), torch.tensor([0, 0, 1, 1])
    network = cin(maps, pairs="nearest", pairs_per_image=3)  # one partner of the same class, both of the other
    contrasted = network.views(pictures(4), labels).contrasted
    assert contrasted is not None

    def embedded(a: int, b: int) -> Tensor:
        weights = [attention(network, maps[image]) for image in (a, b)]
        y = torch.cat([mixed(w, maps[image]).mean((1, 2)) for w, image in zip(weights, (a, b), strict=True)])
        eta = (network.psi.weight @ y + network.psi.bias).squeeze()
        z = convolved(network, mixed((weights[0] - eta * weights[1]).abs(), maps[a])) + maps[a]
        h = network.embed.weight @ z.mean((1, 2)) + network.embed.bias
        return h / h.square().sum().sqrt()

    expected = [(embedded(a, b), embedded(b, a), labels[a] == labels[b]) for a in range(4) for b in range(4) if a != b]
    found = list(zip(*contrasted, strict=True))
    assert len(found) == len(expected) == 12
    for anchor, partner, same_class in expected:  # the pairs are drawn in another order
        assert any(
            torch.allclose(anchor, row[0]) and torch.allclose(partner, row[1]) and same_class == row[2] for row in found
        )


@torch.no_grad()
def test_zero_convolution_leaves_the_features_unchanged() -> None:
    network = cin(random_maps(2))
    network.phi.weight.zero_()
    network.phi.bias.zero_()
    features = network.views(pictures(2), torch.tensor([0, 1])).features
    torch.testing.assert_close(features, random_maps(2).mean((2, 3)))


@torch.no_grad()
def test_contrast_of_identical_images_is_zero() -> None:
    """With eta = gamma = 1 the contrast of an identical pair is 0, and Z' is X with phi's bias."""
    maps = random_maps(1).repeat(2, 1, 1, 1)
    network = cin(maps)
    network.psi.weight.zero_()
    network.psi.bias.fill_(1.0)
    contrasted = network.views(pictures(2), torch.tensor([0, 0])).contrasted
    assert contrasted is not None
    expected = functional.normalize(network.embed(maps[0].mean((1, 2)) + network.phi.bias), dim=0)
    for embeddings in contrasted[:2]:
        torch.testing.assert_close(embeddings, expected.expand(2, -1))
    assert float(contrastive_loss(*contrasted)) == pytest.approx(0, abs=1e-12)


def test_pairs_are_of_both_kinds_and_at_most_max_pairs() -> None:
    labels = torch.arange(3).repeat_interleave(4)
    for most, expected in ((100, 24), (20, 20), (5, 5)):
        contrasted = cin(max_pairs=most).views(pictures(12), labels).contrasted
        assert contrasted is not None
        assert [len(part) for part in contrasted] == [expected] * 3
        if most == 100:
            assert int(contrasted.same_class.sum()) == 12
        for embeddings in contrasted[:2]:
            torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(len(embeddings)))


@pytest.mark.parametrize(("labels", "pairs"), [([2], 0), ([0, 1, 2], 3), ([0, 0], 2)])
def test_a_batch_without_partners_can_be_trained_on(labels: list[int], pairs: int) -> None:
    network = cin().eval()
    views = network.views(pictures(len(labels)), torch.tensor(labels))
    assert views.contrasted is not None
    assert len(views.contrasted.same_class) == pairs
    loss = functional.cross_entropy(views.logits, views.targets) + contrastive_loss(*views.contrasted)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.isfinite()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


@torch.no_grad()
def test_inference_does_not_use_the_layers_for_pairs() -> None:
    network = cin().eval()
    before = network(pictures(2))
    for module in (network.psi, network.embed):
        for parameter in module.parameters():
            parameter.fill_(float("nan"))
    assert torch.equal(network(pictures(2)), before)


@torch.no_grad()
def test_large_activations_give_finite_predictions() -> None:
    maps = 1000 * random_maps(2).float()
    for scale in ("mean", "none"):
        network = cin(maps, attention_scale=scale)
        assert network(pictures(2)).isfinite().all()
        with torch.autocast("cpu", torch.bfloat16):
            assert network(pictures(2)).isfinite().all()


@pytest.mark.parametrize("key", ["attention_scale", "pairs"])
def test_error_of_an_unknown_choice_names_the_key(key: str) -> None:
    options: dict[str, Any] = {key: "nonsense"}
    with pytest.raises(UserError, match=rf"model\.{key}"):
        cin(**options)


def test_embedding_dim_must_be_positive() -> None:
    with pytest.raises(UserError, match=r"model\.embedding_dim"):
        cin(embedding_dim=0)
