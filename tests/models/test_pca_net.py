import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fpcn_lightning.errors import UserError
from fpcn_lightning.models.attention_maps import ATTENTION_MAPS, AttentionMaps
from fpcn_lightning.models.backbones import Backbone
from fpcn_lightning.models.bilinear_pooling import bilinear_pool
from fpcn_lightning.models.channel_interaction import channel_weights
from fpcn_lightning.models.pca_net import PCANet, co_attention, erase
from fpcn_lightning.profiling import cost

UNUSED = 1_052_672  # of the second block's last convolution and its norm, which the authors keep


def pca_net(backbone: str = "test_resnet", **options: Any) -> PCANet:
    torch.manual_seed(0)
    return PCANet(3, 64, backbone, pretrained=False, **options)


def pictures(count: int) -> Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(5))


def random_maps(*shape: int) -> Tensor:
    """As after a ReLU: many entries are exactly 0."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(7)).relu()


# --- features and attention maps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "classes", "published"),
    [
        ("resnet50", 200, 22_322_440),
        ("resnet101", 3, 38_086_723),
        ("torchvision.resnet50", 3, 19_094_595),
    ],
)
def test_parameters_are_the_published_ones_without_those_never_used(
    backbone: str, classes: int, published: int
) -> None:
    network = PCANet(classes, 64, backbone, pretrained=False)
    assert cost.parameters(network) == published - UNUSED
    assert network.feature_dim == 512 * 32


@pytest.mark.slow
def test_cost_of_inference_is_the_published_one() -> None:
    assert cost.macs(PCANet(200, 448, "resnet50", pretrained=False), 448) / 1e6 == pytest.approx(15_276, abs=1)


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet50", "torchvision.resnet50"])
def test_a_resnet_gives_the_maps_inside_its_second_last_block(name: str) -> None:
    torch.manual_seed(0)
    whole = Backbone(name, image_size=96, pretrained=False).eval()
    torch.manual_seed(0)
    backbone = Backbone(name, image_size=96, pretrained=False).eval()
    cut = AttentionMaps(backbone)
    inside: dict[str, Tensor] = {}
    for norm in ("bn1", "bn2"):
        module = whole.model.get_submodule(f"layer4.1.{norm}")
        # A copy, because the ReLU after it works in place.
        module.register_forward_hook(lambda _module, _inputs, output, norm=norm: inside.update({norm: output.clone()}))
    images = torch.randn(2, 3, 96, 96)
    whole(images)
    features, attention = cut(backbone(images).last)
    assert features.shape == (2, 512, 3, 3)
    assert attention.shape == (2, 32, 3, 3)
    torch.testing.assert_close(features, inside["bn1"].clamp(min=0))
    torch.testing.assert_close(attention, inside["bn2"].clamp(min=0)[:, :32])


@pytest.mark.parametrize("name", ["resnet18", "test_resnet", "test_efficientnet", "test_vit"])
def test_another_backbone_gets_a_convolution_outside_its_trunk(name: str) -> None:
    network = pca_net(name)
    features, attention = network.attended(pictures(2))
    torch.testing.assert_close(features, network.trunk(pictures(2)).last)
    assert attention.shape == (2, ATTENTION_MAPS, *features.shape[2:])
    assert attention.min() == 0
    trunk = {id(parameter) for parameter in network.trunk.parameters()}
    outside = {name for name, parameter in network.named_parameters() if id(parameter) not in trunk}
    assert {name.split(".")[0] for name in outside} == {"attention", "head"}
    assert sum(name.startswith("attention.") for name in outside) == 3  # convolution, scale and shift


# --- co-attention ---------------------------------------------------------------------------------------------------


def test_similar_channels_get_the_least_attention() -> None:
    one, two = 0.26894142, 0.73105858
    orthonormal = torch.eye(2).view(1, 2, 1, 2)
    torch.testing.assert_close(channel_weights(orthonormal, orthonormal), torch.tensor([[[one, two], [two, one]]]))
    twins = torch.tensor([[2.0, 0], [0, 1], [2, 0]]).view(1, 3, 1, 2)
    row = torch.tensor([0.017668, 0.964663, 0.017668])
    torch.testing.assert_close(channel_weights(twins, twins)[0, 0], row, rtol=0, atol=1e-6)


def test_attention_of_a_channel_sums_to_one_and_stays_finite() -> None:
    weights = channel_weights(1000 * random_maps(2, 6, 3, 3), 1000 * random_maps(2, 5, 3, 3))
    assert weights.shape == (2, 6, 5)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 6))
    with torch.autocast("cpu", torch.bfloat16):
        assert channel_weights(random_maps(2, 6, 3, 3), random_maps(2, 5, 3, 3)).dtype == torch.float32


def test_co_attention_agrees_with_a_loop() -> None:
    a, b = random_maps(2, 4, 3, 2).double(), random_maps(2, 4, 2, 3).reshape(2, 4, 3, 2).flip(0).double()
    found = co_attention(a, b)
    assert found.shape == a.shape
    for image in range(2):
        for i in range(4):
            raw = [math.exp(-float((a[image, i] * b[image, j]).sum())) for j in range(4)]
            mixed = torch.stack([weight / sum(raw) * a[image, j] for j, weight in enumerate(raw)]).sum(0)
            torch.testing.assert_close(found[image, i], mixed + a[image, i])


# --- erasing --------------------------------------------------------------------------------------------------------


def interpolated(values: Tensor, position: float) -> Tensor:
    """Between the entries of a vector, whose centres are at 0, 1, 2 ...; constant beyond the ends."""
    position = min(max(position, 0.0), len(values) - 1.0)
    below = int(position)
    above = min(below + 1, len(values) - 1)
    return values[below] + (position - below) * (values[above] - values[below])


def test_erasing_agrees_with_a_loop_over_pixels() -> None:
    images, attention, size = torch.randn(3, 3, 8, 8), random_maps(3, 5, 2, 2), 8
    torch.manual_seed(3)
    found = erase(images, attention)
    torch.manual_seed(3)
    chances = torch.tensor([[math.sqrt(float(maps.mean())) + 1e-12 for maps in image] for image in attention])
    drawn = torch.multinomial(chances, 1).flatten().tolist()
    shares = torch.empty(3, 1, 1, 1).uniform_(0.2, 0.5).flatten().tolist()
    for image, (channel, share) in enumerate(zip(drawn, shares, strict=True)):
        chosen = attention[image, channel]
        large = torch.zeros(size, size)
        for y in range(size):
            for x in range(size):
                row = interpolated(chosen, (y + 0.5) * 2 / size - 0.5)
                large[y, x] = interpolated(row, (x + 0.5) * 2 / size - 0.5)
        for y in range(size):
            for x in range(size):
                kept = large[y, x] < share * large.max()
                torch.testing.assert_close(found[image, :, y, x], images[image, :, y, x] * float(kept))


def test_high_attention_is_erased_and_low_attention_is_kept() -> None:
    images, attention = torch.ones(4, 3, 8, 8), torch.zeros(4, 1, 8, 8)
    attention[:, :, :3] = 1.0
    attention[:, :, 3] = 0.51  # above the largest share of the maximum
    attention[:, :, 4] = 0.19  # below the least
    erased = erase(images, attention)
    assert erased[:, :, :4].eq(0).all()
    assert erased[:, :, 4:].eq(1).all()


def test_maps_are_drawn_with_the_root_of_their_mean() -> None:
    attention = torch.zeros(4000, 2, 2, 2)
    attention[:, 0, 0, 0], attention[:, 1, 1, 1] = 1.0, 4.0
    torch.manual_seed(0)
    erased = erase(torch.ones(4000, 3, 2, 2), attention)
    assert float(erased[:, 0, 0, 0].eq(0).float().mean()) == pytest.approx(1 / 3, abs=0.03)
    assert (erased[:, 0, 0, 0] + erased[:, 0, 1, 1] == 1).all()


def test_maps_of_zeros_or_nan_erase_the_whole_image() -> None:
    assert erase(torch.ones(2, 3, 8, 8), torch.zeros(2, 4, 2, 2)).eq(0).all()
    assert erase(torch.ones(2, 3, 8, 8), torch.full((2, 4, 2, 2), math.nan)).eq(0).all()


def test_no_gradient_flows_through_erasing() -> None:
    attention = random_maps(2, 4, 2, 2).requires_grad_()
    assert not erase(pictures(2).requires_grad_(), attention).requires_grad


# --- views in training ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_linear_layer_gets_vectors_of_norm_100_and_the_centre_loss_norm_1() -> None:
    network = pca_net("resnet50").eval()
    views = network.views(pictures(4), torch.tensor([0, 0, 1, 1]))
    assert views.features.shape == (4, 16_384)
    torch.testing.assert_close(views.features.norm(dim=1), torch.ones(4))
    expected = 100 * views.features @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(views.own_logits, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network(pictures(4)), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("second", ["positive", "erased_anchor"])
def test_loss_is_the_mean_of_the_six_of_every_anchor_and_its_positive(second: Any) -> None:
    """With two images per class each is the positive of the other: only the erased regions are random."""
    network = pca_net(co_attention_features=second).eval()
    labels = torch.tensor([0, 1, 2, 2, 0, 1])
    torch.manual_seed(11)
    views = network.views(pictures(6), labels)
    raw = network.attended(pictures(6))
    torch.manual_seed(11)
    erased = network.attended(erase(pictures(6), raw.attention))
    assert views.weights is not None
    found = (views.weights * functional.cross_entropy(views.logits, views.targets, reduction="none")).sum()

    def loss(features: Tensor, attention: Tensor, target: Tensor) -> float:
        logits = network.head(100 * bilinear_pool(features.unsqueeze(0), attention.unsqueeze(0)))
        return float(functional.cross_entropy(logits, target.unsqueeze(0)))

    losses = []
    for anchor, label in enumerate(labels):
        (positive,) = [other for other in range(6) if labels[other] == label and other != anchor]
        a, b = raw.attention[anchor], raw.attention[positive]
        pair = (co_attention(a[None], b[None])[0], co_attention(b[None], a[None])[0])
        with_second = raw.features[positive] if second == "positive" else erased.features[anchor]
        losses += [
            loss(raw.features[anchor], a, label),
            loss(erased.features[anchor], erased.attention[anchor], label),
            loss(raw.features[positive], b, label),
            loss(erased.features[positive], erased.attention[positive], label),
            loss(raw.features[anchor], pair[0], label),
            loss(with_second, pair[1], label),
        ]
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize(("labels", "pairs"), [([1], 0), ([0, 1, 2], 0), ([0, 0, 1], 2), ([0, 0, 0, 1, 1, 2], 5)])
def test_an_image_without_partner_has_its_own_views_only(labels: list[int], pairs: int) -> None:
    network = pca_net().eval()
    views = network.views(pictures(len(labels)), torch.tensor(labels))
    assert views.weights is not None
    assert len(views.logits) == len(views.targets) == len(views.weights) == 2 * len(labels) + 2 * pairs
    assert float(views.weights.sum()) == pytest.approx(1)
    assert views.targets[: 2 * len(labels)].tolist() == labels * 2
    (views.weights * functional.cross_entropy(views.logits, views.targets, reduction="none")).sum().backward()  # type: ignore[no-untyped-call]
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


def test_partners_are_random_images_of_the_same_class() -> None:
    network = pca_net()
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    with torch.no_grad():
        seen = [network.views(pictures(8), labels) for _ in range(2)]
    for views in seen:
        assert views.targets.bincount().tolist() == [16, 16]
    assert not torch.equal(seen[0].logits[16:], seen[1].logits[16:])


def test_error_of_an_unknown_choice_names_the_key() -> None:
    with pytest.raises(UserError, match=r"model\.co_attention_features"):
        pca_net(co_attention_features="negative")


def test_erasing_and_pairs_have_no_parameters_of_their_own() -> None:
    network = pca_net("resnet50")
    assert {name.split(".")[0] for name, _ in network.named_parameters()} == {"backbone", "head"}
    assert cost.parameters(network.attention) == 0
