"""`model=fpcn_paper` against a loop over the paper's printed equations."""

import math

import pytest
import torch
from torch import Tensor

from fpcn_lightning.losses.center import CenterTerm
from fpcn_lightning.models.fpcn import FPCN
from fpcn_lightning.modules.classifier import Classifier
from tests.conftest import classifier_of, config_of

BATCH, PER_CLASS = 6, 2


def classifier() -> Classifier:
    words = ("model=fpcn_paper", "trainer=smoke", "training.channels_last=false")
    module = classifier_of(config_of(*words))
    assert module.weights == {"classification": 1.0, "center": 0.5}
    return module.double().train()


def network_of(module: Classifier) -> FPCN:
    assert isinstance(module.network, FPCN)
    return module.network


def batch() -> tuple[Tensor, Tensor]:
    images = torch.randn(BATCH, 3, 64, 64, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return images, torch.arange(3).repeat_interleave(PER_CLASS)


def features_by_equations_1_to_5_and_7(maps: Tensor) -> list[Tensor]:
    features = []
    for image in maps:
        height, width = image.shape[1:]
        cells = [(x, y) for x in range(height) for y in range(width)]
        activation = {cell: sum(float(channel[cell]) for channel in image) for cell in cells}  # 1
        mean = sum(activation.values()) / len(cells)  # 2
        mask = {cell: 1.0 if activation[cell] >= mean else 0.0 for cell in cells}  # 3
        alpha = sum(mask.values()) / len(cells)  # 4
        pooled = [sum(alpha * float(channel[cell]) * mask[cell] for cell in cells) / len(cells) for channel in image]
        features.append(torch.tensor(pooled, dtype=torch.float64))  # 5, 7
    return features


@torch.no_grad()
def test_loss_agrees_with_the_equations() -> None:
    module = classifier()
    network = network_of(module)
    images, labels = batch()
    views = network.views(images, labels)
    features = features_by_equations_1_to_5_and_7(network.backbone(images).last)
    torch.testing.assert_close(views.features, torch.stack(features))

    assert network.contrast is not None
    fusion, head = network.contrast.fusion, network.head
    losses = []
    for i in range(BATCH):
        for j in range(BATCH):
            if not precedes(i, j):
                continue
            pair = torch.cat([features[i], features[j]])
            hidden = (fusion.reduce.weight @ pair + fusion.reduce.bias).clamp(min=0)
            mutual = fusion.expand.weight @ hidden + fusion.expand.bias  # 6
            for k in (i, j):
                logits = (head.weight @ (features[k] * mutual) + head.bias).tolist()  # 8, 9
                losses.append(math.log(sum(map(math.exp, logits))) - logits[int(labels[k])])
    assert len(losses) == BATCH * (BATCH - 1)  # both images of any two samples of the batch

    center = 0.0
    for label in range(3):
        members = [features[i] for i in range(BATCH) if int(labels[i]) == label]
        mean = torch.stack(members).mean(0)  # 10, from the first batch
        center += 0.5 * sum(float((x - mean).square().sum()) for x in members)  # 11
    terms = module.loss_terms(views, labels)
    assert float(terms["classification"]) == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert float(terms["center"]) == pytest.approx(center, rel=1e-9)


def precedes(i: int, j: int) -> bool:
    """Whether i is the first image of the pair: which one is makes a difference to the fusion, not to the paper."""
    return i != j and ((j - i) % 2 == 1) == (j > i)


def test_the_centre_loss_has_the_papers_number_and_not_its_weight() -> None:
    """The sum over a batch of raw features; the mean over normalised ones, that of `fpcn`, does not grow with both."""
    features = torch.randn(8, 96, generator=torch.Generator().manual_seed(1)).relu()
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])

    def loss(preset: str, scale: float, times: int) -> float:
        term = classifier_of(config_of(f"model={preset}", "trainer=smoke")).terms["center"]
        assert isinstance(term, CenterTerm)
        return float(term.loss((scale * features).repeat(times, 1), labels.repeat(times)))

    assert loss("fpcn_paper", 3.0, 2) == pytest.approx(9 * 2 * loss("fpcn_paper", 1.0, 1), rel=1e-4)
    assert loss("fpcn_gated", 3.0, 2) == pytest.approx(loss("fpcn_gated", 1.0, 1), rel=1e-4)
