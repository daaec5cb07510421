"""Mixup and CutMix: training images that are mixed from two images, with the shares of both classes as the target."""

import torch
from torch import Tensor
from torchvision.transforms import v2

from fpcn_lightning.config import TrainingConfig
from fpcn_lightning.errors import UserError
from fpcn_lightning.losses.term import LossTerm
from fpcn_lightning.models.network import Network
from fpcn_lightning.models.on_backbone import SingleView


class Mixing:
    """Mixes the images of a batch with those of a shuffled copy of it; all chance is that of torch's generator.

    Mixup (Zhang et al., ICLR 2018) adds two images, CutMix (Yun et al., ICCV 2019) pastes a box of one into the other;
    with both, each batch has one of the two.

    Args:
        training: the section of the config.
        classes: number of classes C.
    """

    def __init__(self, training: TrainingConfig, classes: int) -> None:
        self.probability = training.mix_probability
        self.choices: list[v2.Transform] = []
        if training.mixup:
            self.choices.append(v2.MixUp(alpha=training.mixup, num_classes=classes))
        if training.cutmix:
            self.choices.append(v2.CutMix(alpha=training.cutmix, num_classes=classes))

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, S, S], floating point, and labels, long [B], as mixed images and shares of classes [B, C].

        A batch that is not mixed is returned as it is.
        """
        coin, choice = torch.rand(2).tolist()
        if coin >= self.probability:
            return images, labels
        mixed, shares = self.choices[int(choice * len(self.choices))](images, labels)
        return mixed, shares


def make_mixing(training: TrainingConfig, network: Network, terms: dict[str, LossTerm], classes: int) -> Mixing | None:
    """The mixing of a training; None where neither mixup nor CutMix is on.

    Raises:
        UserError: a number is out of range, or the network or a term of the loss needs the class of each image.
    """
    for key in ("mixup", "cutmix"):
        if not getattr(training, key) >= 0:
            raise UserError(f"training.{key}={getattr(training, key)} must not be negative.")
    if not 0 <= training.mix_probability <= 1:
        raise UserError(f"training.mix_probability={training.mix_probability} is not a probability: give 0..1.")
    if not training.mixup and not training.cutmix:
        return None
    off = "set training.mixup=0 training.cutmix=0"
    if not isinstance(network, SingleView):
        raise UserError(
            f"training.mixup and training.cutmix mix images of two classes, but {type(network).__name__} chooses pairs "
            f"or regions by the class of each image: {off}."
        )
    needing = [name for name, term in terms.items() if not term.takes_soft_targets and term.needs_labels]
    if needing:
        raise UserError(
            f"training.mixup and training.cutmix mix images of two classes, but the term loss.{needing[0]} needs one "
            f"class for each image: {off}, or loss.{needing[0]}.weight=0."
        )
    return Mixing(training, classes)
