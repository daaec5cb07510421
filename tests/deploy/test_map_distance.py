import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fpcn_lightning.deploy.map_distance import MAX_COMPONENTS, SLOPE, middle_layers
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.models.lenet import LeNet
from fpcn_lightning.models.majority import Majority
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.plain import Plain

SIDE = 64


def deployed(network: Network | None = None) -> DeployedNetwork:
    torch.manual_seed(0)
    return DeployedNetwork(network or Plain(3, SIDE, "test_resnet", pretrained=False), SIDE)


def textures(count: int, seed: int, grain: int = 4, contrast: float = 40.0) -> Tensor:
    """Pictures of coloured squares of `grain` pixels, uint8 [count, SIDE, SIDE, 3]."""
    rng = np.random.default_rng(seed)
    small = rng.normal(128, contrast, (count, SIDE // grain, SIDE // grain, 3)).clip(0, 255).astype(np.uint8)
    return torch.from_numpy(small.repeat(grain, 1).repeat(grain, 2))


@pytest.mark.parametrize(("training", "components"), [(40, 20), (400, MAX_COMPONENTS)])
def test_the_distance_is_that_of_the_covariance(training: int, components: int) -> None:
    """Computed with the whole matrix, inverted, as an independent loop."""
    distance = deployed().distance
    generator = torch.Generator().manual_seed(1)
    dimensions = len(distance.mean)
    mixing = torch.randn(dimensions, dimensions, generator=generator) / 4
    raw = torch.randn(training + 5, dimensions, generator=generator) @ mixing
    distance.fit(raw[:training])
    found = distance.of(raw[training:])
    logs = np.empty(raw.shape)
    start = 0
    for size in (size for size in distance._sizes for _ in range(2)):
        part = raw[:, start : start + size].double().numpy()
        root = math.sqrt((part[:training] ** 2).mean())
        logs[:, start : start + size] = np.sign(part) * np.log1p(SLOPE * np.abs(part) / root)
        start += size
    mean = logs[:training].mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(logs[:training].T, bias=True))
    values, vectors = values[::-1], vectors[:, ::-1]
    rest = values[components : min(training, dimensions)].mean()
    covariance = (vectors * np.concatenate([values[:components], np.full(dimensions - components, rest)])) @ vectors.T
    offsets = logs[training:] - mean
    expected = np.sqrt(np.einsum("nd,de,ne->n", offsets, np.linalg.inv(covariance), offsets) / dimensions)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


@torch.no_grad()
def test_statistics_are_mean_and_deviation_of_each_channel() -> None:
    model = deployed()
    kept: list[Tensor] = []
    for name in model.distance.layers:
        model.network.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    found = model.statistics(textures(3, 0))
    expected = [values for each in kept for values in (each.mean((2, 3)), each.std((2, 3), correction=0))]
    assert len(kept) == 2
    torch.testing.assert_close(found, torch.cat(expected, 1))


@torch.no_grad()
def test_pictures_of_another_kind_are_farther_away() -> None:
    model = deployed()
    model.distance.fit(model.statistics(textures(100, 0)))
    known, coarse, flat = (
        -model(images)[1] for images in (textures(50, 1), textures(50, 2, grain=16), textures(50, 3, contrast=2))
    )
    assert float(known.mean()) == pytest.approx(1, abs=0.3)
    assert coarse.min() > known.quantile(0.95)
    assert flat.min() > known.quantile(0.95)


@torch.no_grad()
@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_pictures_give_a_finite_distance(count: int) -> None:
    model = deployed()
    model.distance.fit(model.statistics(textures(count, 0)))
    assert torch.isfinite(model(textures(4, 1))[1]).all()


class Nested(Network):
    """Seven blocks, of which each has a sequence with parts of its own inside."""

    mean, std, feature_dim = (0.5,) * 3, (0.5,) * 3, 4

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.body = nn.Sequential(*(Block() for _ in range(7)))
        self.head = nn.Linear(4, 2)

    @property
    def trunk(self) -> nn.Module:
        return self.body

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(self.stem(images)).mean((2, 3)))
        return logits

    predict = views = None  # type: ignore[assignment]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.Sequential(Inner(), Inner())

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.parts(maps)
        return output


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(4, 4, 1)

    def forward(self, maps: Tensor) -> Tensor:
        output: Tensor = self.convolution(maps)
        return output


def test_the_middle_block_the_last_but_one_and_one_between_are_used() -> None:
    assert middle_layers(Nested().eval(), 8) == ("body.3", "body.4", "body.5")
    efficientnet = Plain(2, 64, "tf_efficientnet_lite0", pretrained=False).eval()
    ends = tuple(f"backbone.model.blocks.{stage}" for stage in ("3.2", "4.2", "5.3"))
    assert middle_layers(efficientnet, 64) == ends


@torch.no_grad()
def test_networks_without_blocks_use_convolutions_or_the_pictures() -> None:
    lenet = deployed(LeNet(3, SIDE))
    assert len(lenet.distance.layers) == 1
    assert isinstance(lenet.network.get_submodule(lenet.distance.layers[0]), nn.Conv2d)
    majority = deployed(Majority(3, SIDE))
    assert majority.distance.layers == ()
    assert majority.statistics(textures(2, 0)).shape == (2, 6)


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "channels"), [("vit_tiny_patch16_224", [192] * 3), ("swin_tiny_patch4_window7_224", [192, 384])]
)
def test_channels_of_tokens_and_of_maps_with_the_channels_last_are_found(backbone: str, channels: list[int]) -> None:
    model = DeployedNetwork(Plain(2, 224, backbone, pretrained=False), 224)
    assert model.distance._sizes == channels
    assert model.statistics(torch.zeros(1, 224, 224, 3, dtype=torch.uint8)).shape == (1, 2 * sum(channels))


@torch.no_grad()
@pytest.mark.parametrize("inference_mode", FPCN.inference_modes)
def test_the_score_is_of_the_same_maps_in_every_inference_mode(inference_mode: str) -> None:
    torch.manual_seed(0)
    network = FPCN(3, SIDE, "test_resnet", pretrained=False, inference_mode=inference_mode)
    model = DeployedNetwork(network, SIDE)
    model.distance.fit(model.statistics(textures(30, 0)))
    images = textures(4, 1)
    torch.testing.assert_close(model(images)[1], model.logits_and_score(images)[1])
