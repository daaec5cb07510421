from pathlib import Path
from typing import Any

import pytest
import torch

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.mixing import Mixing, make_mixing
from tests.conftest import classifier_of, config_of
from tests.tasks.conftest import Train, train

__all__ = ["train"]
TINY = ("backbone=test_resnet", "pretrained=false")
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def one_colour_an_image() -> torch.Tensor:
    return torch.arange(6.0).view(6, 1, 1, 1).expand(6, 3, 8, 8).contiguous()


@pytest.mark.parametrize("options", [{"mixup": 1.0}, {"cutmix": 1.0}], ids=["mixup", "cutmix"])
def test_targets_are_the_shares_of_both_images(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    mixing = Mixing(TrainingConfig(mix_probability=1.0, **options), classes=3)
    for _ in range(5):
        images, targets = mixing(one_colour_an_image(), LABELS)
        torch.testing.assert_close(targets.sum(1), torch.ones(6))
        # The partner of image i is image i - 1, and colours are numbers of images: the mean colour tells the share.
        share = (images.mean((1, 2, 3)) - torch.arange(6.0).roll(1)) / (torch.arange(6.0) - torch.arange(6.0).roll(1))
        wanted = share.view(6, 1) * torch.eye(3)[LABELS] + (1 - share.view(6, 1)) * torch.eye(3)[LABELS.roll(1)]
        torch.testing.assert_close(targets, wanted, atol=1e-5, rtol=0)


def test_the_probability_of_a_mixed_batch() -> None:
    torch.manual_seed(0)
    mixing = Mixing(TrainingConfig(mixup=0.2, mix_probability=0.25), classes=3)
    mixed = sum(mixing(one_colour_an_image(), LABELS)[1].ndim == 2 for _ in range(800))
    assert abs(mixed / 800 - 0.25) < 0.06


def test_a_network_that_chooses_pairs_by_class_refuses() -> None:
    settings = config_of("model=fpcn", *TINY)
    module = classifier_of(settings)
    with pytest.raises(UserError, match="FPCN chooses pairs or regions by the class"):
        make_mixing(TrainingConfig(mixup=0.2), module.network, {}, 3)


def test_a_term_that_needs_labels_refuses() -> None:
    module = classifier_of(config_of("model=plain", *TINY, "loss.center.weight=0.1"))
    terms = {name: module.terms[name] for name in module.terms}
    with pytest.raises(UserError, match=r"loss\.center needs one class .* loss\.center\.weight=0"):
        make_mixing(TrainingConfig(cutmix=1.0), module.network, terms, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"mixup": -1.0}, {"mix_probability": 1.5}, {"cutmix": float("nan")}])
def test_values_out_of_range_are_named(options: dict[str, Any]) -> None:
    module = classifier_of(config_of("model=plain", *TINY))
    with pytest.raises(UserError, match=rf"training\.{next(iter(options))}="):
        make_mixing(TrainingConfig(**options), module.network, {}, 3)


def test_a_training_with_mixed_images_is_reproducible(train: Train) -> None:
    words = ("model=plain", "training.mixup=0.2", "training.cutmix=1.0", "training.mix_probability=1.0")
    losses = [train(*words, folder=name)[0] / "metrics.csv" for name in ("one", "two")]
    assert losses[0].read_text() == losses[1].read_text()
    usual = train("model=plain", folder="three")[0] / "metrics.csv"
    assert Path(usual).read_text() != losses[0].read_text()
