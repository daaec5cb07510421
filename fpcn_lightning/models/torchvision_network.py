"""A network of torchvision with the classifier of its own paper: AlexNet, VGG16, GoogLeNet and others."""

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
    """A network whose last linear layer is replaced by one for C classes.

    `Plain` puts one linear layer on the mean of the last feature map. AlexNet (Krizhevsky, Sutskever, Hinton, NeurIPS
    2012) and VGG16 (Simonyan, Zisserman, ICLR 2015) have two more layers with dropout before it, which hold most of
    their parameters. GoogLeNet (Szegedy et al., CVPR 2015) has dropout, and two auxiliary classifiers, whose losses
    have the weight 0.3 each in training and which are not computed at inference. torchvision has no pretrained weights
    for these two.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels; later images may be larger.
        name: of a convolutional network in torchvision that ends in a linear layer.
        pretrained: load torchvision's ImageNet weights.
        weights: a file of ImageNet weights, with a classifier for 1000 classes, instead of the download.

    Raises:
        UserError: the network is unknown, the weights cannot be loaded or do not fit, or the images are too small.
    """

    def __init__(
        self, classes: int, image_size: int, name: str, pretrained: bool = True, weights: str | Path | None = None
    ) -> None:
        super().__init__()
        self.body, self.weights_source = _with_weights(name, pretrained, Path(weights) if weights else None)
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        if hasattr(self.body, "transform_input"):
            setattr(self.body, "transform_input", False)  # noqa: B010 - a submodule to torch's stubs
            self.mean, self.std = (0.5,) * 3, (0.5,) * 3  # equivalent to its own input transform
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
        """Every image once for the classifier and once for each auxiliary one."""
        features, auxiliary = _split(self.body(images))
        own = self.head(features)
        if not auxiliary:
            return Views(own, labels, own, features)
        shares = [1.0] + [AUXILIARY_WEIGHT] * len(auxiliary)
        # Made on the device: the host waits while `torch.tensor` copies numbers to a GPU.
        counts = torch.cat([torch.full((len(own),), share, device=own.device) for share in shares]) / len(own)
        return Views(torch.cat([own, *auxiliary]), labels.repeat(len(shares)), own, features, weights=counts)

    @torch.no_grad()
    def _try(self, name: str, image_size: int) -> None:
        training = self.body.training
        self.body.eval()
        try:
            self.body(torch.zeros(1, 3, image_size, image_size))
        except RuntimeError as error:
            raise UserError(f"images of {image_size} pixels are too small for {name}: raise data.crop.") from error
        self.body.train(training)


def _split(output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
    """The features, and the logits of the auxiliary classifiers, which are computed in training only."""
    return (output, []) if isinstance(output, Tensor) else (output[0], list(output[1:]))


def _with_weights(name: str, pretrained: bool, file: Path | None) -> tuple[nn.Module, str]:
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise UserError(f"model.name={name} is not a network of torchvision{closest(name, known)}.")

    def build(source: str | None = "DEFAULT") -> nn.Module:
        # Without `init_weights` GoogLeNet warns about its initialisation; downloaded weights lack the auxiliary parts.
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
    """Remove the last layer and return the number of its input features."""
    holder, place = model, "fc"
    if not hasattr(model, "fc"):
        classifier = getattr(model, "classifier", None)
        if isinstance(classifier, nn.Sequential):
            holder, place = classifier, str(len(classifier) - 1)
    last = getattr(holder, place, None)
    if not isinstance(last, nn.Linear) or hasattr(model, "AuxLogits"):
        raise UserError(
            f"model.name={name} does not end in one linear layer: use model=plain backbone=torchvision.{name}."
        )
    setattr(holder, place, nn.Identity())
    return last.in_features
