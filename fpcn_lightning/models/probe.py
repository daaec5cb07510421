"""The floor of every fine-tuning: a linear classifier on the features of the frozen backbone."""

from pathlib import Path

from fpcn_lightning.models.plain import Plain


class Probe(Plain):
    """A `Plain` network whose backbone is never trained and whose head is a logistic regression on its features.

    It is not trained in steps: `fpcn_lightning.modules.probing` fits the head to the features of all training images
    at once. A network that was fine-tuned from the same backbone and is worse than this was not worth its training.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, weights: see `fpcn_lightning.models.backbones.Backbone`.
        pretrained: likewise; a probe of random weights shows what the architecture alone gives.
    """

    def __init__(
        self, classes: int, image_size: int, backbone: str, pretrained: bool = True, weights: str | Path | None = None
    ) -> None:
        super().__init__(classes, image_size, backbone, pretrained, weights)
        self.backbone.requires_grad_(False)
