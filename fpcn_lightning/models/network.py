"""The interface of a network: what is deployed, what is reported, and what the losses are computed from.

`forward(images)` is what is deployed: single images, no partners, no labels. `views(images, labels)` is the training
call: it returns every tensor that a loss or a figure may need, by name. A network may offer several inference modes:
`predict` returns the logits of all of them, and the located object for figures; `forward` uses the configured mode.
Where that mode is linear in the feature map, or so but for factors of whole channels, `explained` returns the
contribution of each position to the logits; for the others, heat maps are computed from the module `heat_layer`.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fpcn_lightning.errors import check_choice
from fpcn_lightning.losses.views import Views


def average(maps: Tensor) -> Tensor:
    """Global average pooling of maps [B, C, H, W] to [B, C], in float32 or wider also under mixed precision."""
    return maps.mean((2, 3), dtype=torch.promote_types(maps.dtype, torch.float32))


def contributions(head: nn.Linear, maps: Tensor, area: Tensor | float) -> Tensor:
    """Contribution of each position of `maps` [B, D, H, W] to the logits of `head` on their sum / `area`.

    Class activation maps (Zhou et al., CVPR 2016, equation 2), [B, C, H, W]: summed over the positions, they are the
    logits without the bias of `head`.
    """
    return functional.linear(maps.permute(0, 2, 3, 1), head.weight).permute(0, 3, 1, 2) / area


def explained_average(head: nn.Linear, maps: Tensor) -> "Explained":
    """Logits of `head` on the mean of `maps` [B, D, H, W], and the contribution of each position."""
    return Explained(head(average(maps)), contributions(head, maps, maps.shape[2:].numel()))


class NetworkOutput(NamedTuple):
    """Output of inference. B images, C classes; a mask only where the network locates the object."""

    logits: dict[str, Tensor]  # [B, C] of every inference mode, by its name
    mask: Tensor | None = None  # bool [B, H, W], True on the object
    object_ratio: Tensor | None = None  # [B] share of the image that is object, 0..1


class Explained(NamedTuple):
    """Logits of the configured inference mode and the contribution of each position. B images, C classes."""

    logits: Tensor  # [B, C]
    maps: Tensor  # [B, C, H, W] contribution of each position to each logit; the rest is the bias of the head
    mask: Tensor | None = None  # bool [B, H, W], True on the object; only where the network locates it


class Network(nn.Module, ABC):
    """A classifier of images [B, 3, S, S], normalised as its backbone expects.

    Attributes:
        inference_modes: names of the inference modes that it offers.
        inference_mode: the one that `forward` uses.
        mean, std: normalisation of images in 0..1, one number per channel.
        weights_source: where the initial weights came from, as text.
        feature_dim: channels D of `Views.features`.
        fixed_size: whether it accepts only images of the size that it was built for.
        head_lr_factor: learning rate of everything outside the backbone, relative to that of the backbone, where
            `training.head_lr_factor` is null.
    """

    inference_modes: tuple[str, ...] = ("plain",)
    inference_mode: str = "plain"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights_source: str
    feature_dim: int
    fixed_size: bool = False
    head_lr_factor: float = 1.0

    @property
    @abstractmethod
    def trunk(self) -> nn.Module:
        """The pretrained part, which is frozen in the first `training.freeze_epochs` epochs."""

    @abstractmethod
    def predict(self, images: Tensor) -> NetworkOutput:
        """Output for images [B, 3, S, S], in every inference mode."""

    @abstractmethod
    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Input of the losses for a batch of images [B, 3, S, S] with class numbers [B]."""

    def explained(self, images: Tensor) -> Explained | None:  # noqa: ARG002 - overridden where it is possible
        """Logits for images [B, 3, S, S] and the contribution of each position; None if there is no such map."""
        return None

    @property
    def linear_head(self) -> nn.Linear | None:
        """The layer whose logits on the mean of the backbone's map are those of `forward`; None if there is none.

        A linear probe of the backbone is put into it.
        """
        return None

    @property
    def heat_layer(self) -> nn.Module | None:
        """The module whose output is the last map [B, C, H, W], for heat maps; None if there is none.

        Where it is called several times in one pass, its first output is that of the whole image.
        """
        return None

    @property
    def heat_inference_mode(self) -> str:
        """The inference mode that heat maps explain, whose logits are computed from the first map of `heat_layer`."""
        return self.inference_mode

    def begin_epoch(self, epoch: int) -> None:
        """Called at the start of each training epoch, numbered from 0; for networks that change over time."""

    def set_class_counts(self, counts: Tensor) -> None:
        """Called with the number of training images [C] of each class, which balanced batches do not show."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of the configured inference mode."""
        return self.predict(images).logits[self.inference_mode]

    def choose_inference_mode(self, inference_mode: str) -> None:
        """Set the inference mode that `forward` uses.

        Raises:
            UserError: it is not one of `inference_modes`.
        """
        check_choice("model.inference_mode", inference_mode, self.inference_modes)
        self.inference_mode = inference_mode
