"""A network of torchvision as its own paper has it, with its own classifier: AlexNet, VGG16, GoogLeNet and others."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError, closest
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models import weights
from fpcn_lightning.models.backbones import IMAGENET_MEAN, IMAGENET_STD, TORCHVISION_HEADS
from fpcn_lightning.models.network import Network, NetworkOutput

AUXILIARY_WEIGHT = 0.3  # Szegedy et al., CVPR 2015, section 5


class TorchvisionNetwork(Network):
    """All of a network but its last linear layer, which is made anew for the classes at hand.

    `Plain` puts one linear layer on the mean of the last feature map. AlexNet (Krizhevsky, Sutskever, Hinton, NeurIPS
    2012) and VGG16 (Simonyan, Zisserman, ICLR 2015) have two more layers with dropout before it, which hold most of
    their parameters. GoogLeNet (Szegedy et al., CVPR 2015) has dropout, and two auxiliary classifiers, whose losses
    count 0.3 each in training and which are gone at inference. Pretrained ones of torchvision come without weights
    for these two.

    Args:
        classes: number of classes C.
        image_size: side of the pictures, pixels; others of the same or a larger size may follow.
        name: of a convolutional network in torchvision that ends in a linear layer.
        pretrained: take torchvision's ImageNet weights.
        weights: a file of ImageNet weights, with a classifier for 1000 classes, instead of the download.

    Raises:
        UserError: no such network, weights that are not to be had or do not fit, or pictures that are too small.
    """

    def __init__(
        self, classes: int, image_size: int, name: str, pretrained: bool = True, weights: str | Path | None = None
    ) -> None:
        super().__init__()
        self.body, self.weights_source = _with_weights(name, pretrained, Path(weights) if weights else None)
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        if hasattr(self.body, "transform_input"):
            setattr(self.body, "transform_input", False)  # noqa: B010 - torch's stubs take it for a part
            self.mean, self.std = (0.5,) * 3, (0.5,) * 3  # what its own transform of the input amounts to
        self.feature_dim = _without_last_layer(self.body, name)
        for auxiliary in (self.body.get_submodule(part) for part in ("aux1", "aux2") if hasattr(self.body, part)):
            auxiliary.fc2 = nn.Linear(1024, classes)
        self.head = nn.Linear(self.feature_dim, classes)
        self._try(name, image_size)

    @property
    def trunk(self) -> nn.Module:
        """All but the last layer."""
        return self.body

    @property
    def heat_layer(self) -> nn.Module:
        """The last part before the classifier, without the pooling that AlexNet and VGG end it with."""
        parts = [part for name, part in self.body.named_children() if name not in TORCHVISION_HEADS]
        last = parts[-1]
        return last[-2] if isinstance(last, nn.Sequential) and isinstance(last[-1], nn.MaxPool2d) else last

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C]."""
        return NetworkOutput({"plain": self.head(_split(self.body(images))[0])})

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every picture once, by the classifier and by each auxiliary one."""
        features, auxiliary = _split(self.body(images))
        own = self.head(features)
        if not auxiliary:
            return Views(own, labels, own, features)
        shares = [1.0] + [AUXILIARY_WEIGHT] * len(auxiliary)
        counts = torch.tensor(shares, device=own.device).repeat_interleave(len(own)) / len(own)
        return Views(torch.cat([own, *auxiliary]), labels.repeat(len(shares)), own, features, weights=counts)

    @torch.no_grad()
    def _try(self, name: str, image_size: int) -> None:
        training = self.body.training
        self.body.eval()
        try:
            self.body(torch.zeros(1, 3, image_size, image_size))
        except RuntimeError as error:
            raise UserError(f"pictures of {image_size} pixels are too small for {name}: raise data.crop.") from error
        self.body.train(training)


def _split(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
    """The features, and the logits of auxiliary classifiers, which there are in training only."""
    return (output, []) if isinstance(output, Tensor) else (output[0], list(output[1:]))


def _with_weights(name: str, pretrained: bool, file: Path | None) -> tuple[nn.Module, str]:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UserError(f"model.name={name} is no network of torchvision{closest(name, known)}.")

    def build(source: str | None = "DEFAULT") -> nn.Module:
        # Left to itself it warns that it will initialise its weights, and downloaded ones come without these parts.
        auxiliary = {"aux_logits": True} | ({} if source else {"init_weights": True})
        model: nn.Module = models.get_model(name, weights=source, **(auxiliary if name == "googlenet" else {}))
        return model

    if file is not None:
        model = build(None)
        weights.load_file(model, file)
        return model, f"file {file.name}"
    if pretrained:
        return weights.download(name, build), "ImageNet, downloaded by the library"
    return build(None), "random"


def _without_last_layer(model: nn.Module, name: str) -> int:
    """Take the last layer out; how many features it took in."""
    holder, place = model, "fc"
    if not hasattr(model, "fc"):
        classifier = getattr(model, "classifier", None)
        if isinstance(classifier, nn.Sequential):
            holder, place = classifier, str(len(classifier) - 1)
    last = getattr(holder, place, None)
    if not isinstance(last, nn.Linear) or hasattr(model, "AuxLogits"):
        raise UserError(
            f"model.name={name} does not end in one linear layer: take model=plain backbone=torchvision.{name}."
        )
    setattr(holder, place, nn.Identity())
    return last.in_features
