"""The training steps that are compared: a bare backbone in a plain loop, and networks with the terms of their loss."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fpcn_lightning.config import Target, TrainingConfig
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.backbones import IMAGENET_MEAN, IMAGENET_STD, TORCHVISION
from fpcn_lightning.models.network import Network
from fpcn_lightning.profiling.step_time import TrainingStep, training_step

LEARNING_RATE = 1e-4  # so small that no number of steps on one batch diverges
PLAIN: Target = {
    "_target_": "fpcn_lightning.models.plain.Plain",
    "backbone": None,
    "pretrained": False,
    "weights": None,
}
CLASSIFICATION: Mapping[str, Target] = {
    "classification": {"_target_": "fpcn_lightning.losses.classification.ClassificationTerm", "weight": 1.0}
}


@dataclass(frozen=True)
class StepForm:
    """A step to measure; made in the process that measures it.

    Attributes:
        model: the section of the config; None: the bare backbone in a plain loop.
        loss: the section of the config, of a network.
        backbone: a timm name, or `torchvision.NAME`; of the bare backbone.
        classes, per_class: of the batch.
        size: height and width of the images, pixels.
        device: such as `cpu`.
        precision: `fp32` or `bf16`.
        compiled: by `torch.compile`, of the backbone.
        frozen_share: as `training.frozen_share`.
    """

    model: Target | None
    loss: Mapping[str, Target]
    backbone: str | None
    classes: int
    per_class: int
    size: int
    device: str = "cpu"
    precision: str = "fp32"
    compiled: bool = False
    frozen_share: float = 0.0

    @property
    def images(self) -> int:
        """Of the batch."""
        return self.classes * self.per_class

    def make(self) -> TrainingStep:
        """The step, with random weights.

        Raises:
            UserError: the network cannot be built.
        """
        torch.manual_seed(0)
        return self._bare() if self.model is None else self._network(self.model)

    def _bare(self) -> TrainingStep:
        assert self.backbone is not None
        step = bare_step(self.backbone, self._batch(), self.classes, torch.device(self.device), self.precision)
        if self.compiled:
            step.module.compile()
        return step

    def _network(self, model: Target) -> TrainingStep:
        from fpcn_lightning import build  # here, because Hydra is not needed for a bare backbone

        network = build.network(without_weights(model), self.classes, self.size)
        if self.frozen_share:
            from fpcn_lightning.modules.freezing import Freezing  # here, because it imports timm

            network.weights_source = "as if pretrained"  # random ones are never frozen
            Freezing(network, TrainingConfig(frozen_share=self.frozen_share)).begin_epoch(0)
        if self.compiled:
            network.trunk.compile()
        terms = nn.ModuleDict(build.loss_terms(self.loss, [100] * self.classes, network.feature_dim))
        return training_step(network, terms, self._batch(), torch.device(self.device), sgd, self.precision)

    def _batch(self) -> Batch:
        return random_batch(self.classes, self.per_class, self.size)


def without_weights(model: Target) -> Target:
    """The section without pretrained weights, which would be downloaded: time does not depend on them."""
    return {**model, **{key: value for key, value in {"pretrained": False, "weights": None}.items() if key in model}}


def random_batch(classes: int, per_class: int, size: int) -> Batch:
    """Images of random pixels, sorted by class as a balanced batch is."""
    labels = torch.arange(classes).repeat_interleave(per_class)
    images = torch.randint(0, 256, (len(labels), size, size, 3), generator=torch.Generator().manual_seed(0))
    return Batch(images.to(torch.uint8).permute(0, 3, 1, 2), labels, torch.arange(len(labels)))


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of all steps that are compared."""
    return torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=0.9)


def bare_step(backbone: str, batch: Batch, classes: int, device: torch.device, precision: str = "fp32") -> TrainingStep:
    """The step of a plain loop as in timm's own training script: classifier of the library, cross-entropy, SGD.

    Raises:
        UserError: no library has this backbone.
    """
    model = _whole_model(backbone, classes).to(device).to(memory_format=torch.channels_last).train()
    images, labels = batch.images.to(device), batch.labels.to(device)
    shape = (1, 3, 1, 1)
    mean, std = (torch.tensor(each, device=device).view(shape) for each in (IMAGENET_MEAN, IMAGENET_STD))

    def loss() -> torch.Tensor:
        normalised = ((images.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)
        return functional.cross_entropy(model(normalised), labels)

    return TrainingStep(loss, model, sgd(model.parameters()), device, precision)


def _whole_model(backbone: str, classes: int) -> nn.Module:
    made: Any
    try:
        if backbone.startswith(TORCHVISION):
            from torchvision import models

            options = {"aux_logits": False, "init_weights": True} if "googlenet" in backbone else {}
            make: Callable[..., Any] = partial(models.get_model, **options)
            made = make(backbone.removeprefix(TORCHVISION), weights=None, num_classes=classes)
        else:
            import timm

            made = timm.create_model(backbone, pretrained=False, num_classes=classes)
    except Exception as error:
        raise UserError(f"the backbone {backbone} cannot be built: {error}.") from error
    model: nn.Module = made
    return model


def plain_of(model: Target) -> Target | None:
    """The section `model` of the plain network on the same backbone; None for a network without one."""
    return None if model.get("backbone") is None else {**PLAIN, "backbone": model["backbone"]}


def deployed_network(model: Target, classes: int, size: int) -> Network:
    """A network of random weights, for inference."""
    from fpcn_lightning import build

    torch.manual_seed(0)
    return build.network(without_weights(model), classes, size).eval()
