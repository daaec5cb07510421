"""The contract of a network: what is deployed, what is reported, and what is trained on.

A network answers two questions. `forward(images)` is what is deployed: one picture in, no partner, no label.
`views(images, labels)` is its training call: it returns every tensor that a loss or a figure may want, by name. A
network may offer several readings of inference; `answers` gives them all, and what a figure may want to show beside
them; `forward` gives the configured one. Where that one is linear in the feature map, `explained` says what each place
of the picture adds to it; for the others heat maps are drawn of the module `heat_layer`.
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
    """What each place of `maps` [B, D, H, W] adds to the logits of `head` on their sum over the places / `area`.

    Class activation maps (Zhou et al., CVPR 2016, equation 2), [B, C, H, W]: summed over the places, they are the
    logits without the bias of `head`.
    """
    return functional.linear(maps.permute(0, 2, 3, 1), head.weight).permute(0, 3, 1, 2) / area


def explained_average(head: nn.Linear, maps: Tensor) -> "Explained":
    """What `head` says of the mean of `maps` [B, D, H, W], and what each place adds to it."""
    return Explained(head(average(maps)), contributions(head, maps, maps.shape[2:].numel()))


class NetworkOutput(NamedTuple):
    """What inference gives. B pictures, C classes; a mask only where the network positions the object."""

    logits: dict[str, Tensor]  # [B, C] of every reading, by its name
    mask: Tensor | None = None  # bool [B, H, W], where the object was found
    object_ratio: Tensor | None = None  # [B] its share of the picture, 0..1


class Explained(NamedTuple):
    """What inference gives in the configured reading, and why. B pictures, C classes."""

    logits: Tensor  # [B, C]
    maps: Tensor  # [B, C, H, W] what each place adds to each logit; the rest is a bias that is the same for all


class Network(nn.Module, ABC):
    """A classifier of pictures [B, 3, S, S], normalised as its backbone expects.

    Attributes:
        readings: names of the ways of inference that it offers.
        inference: the one that `forward` uses.
        mean, std: normalisation of pictures in 0..1, a number a channel.
        weights_source: where the initial weights came from, in words.
        feature_dim: channels D of `Views.features`.
        fixed_size: it takes pictures of the size that it was built for, and no other.
        head_lr_factor: times the learning rate of the backbone, all that is not backbone is trained with, where
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
        """The pretrained part, which `optimisation.freeze_epochs` holds still."""

    @abstractmethod
    def predict(self, images: Tensor) -> NetworkOutput:
        """What inference says of pictures [B, 3, S, S], in every reading."""

    @abstractmethod
    def views(self, images: Tensor, labels: Tensor) -> Views:
        """What the losses see of a batch of pictures [B, 3, S, S] with class numbers [B]."""

    def explained(self, images: Tensor) -> Explained | None:  # noqa: ARG002 - the signature of those that can
        """What `forward` says of pictures [B, 3, S, S], place by place; None where it is not linear in a map."""
        return None

    @property
    def heat_layer(self) -> nn.Module | None:
        """The module whose output is the last map [B, C, H, W], of which heat maps are drawn; None: there is none.

        Where it answers several times in one pass, its first answer is that of the whole picture.
        """
        return None

    @property
    def heat_inference_mode(self) -> str:
        """The reading that heat maps explain, in which the first map of `heat_layer` leads to the answer."""
        return self.inference_mode

    def begin_epoch(self, epoch: int) -> None:
        """Hear that the training epoch with this number begins, the first is 0; for networks that change over time."""

    def see_class_counts(self, counts: Tensor) -> None:
        """Hear how many pictures [C] of each class there are to train on, which balanced batches do not show."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of the configured reading."""
        return self.predict(images).logits[self.inference_mode]

    def choose_inference_mode(self, inference_mode: str) -> None:
        """Make `reading` the one that `forward` uses.

        Raises:
            UserError: it is none of `readings`.
        """
        check_choice("model.inference_mode", inference_mode, self.inference_modes)
        self.inference_mode = inference_mode


def normalised(network: Network, images: Tensor) -> Tensor:
    """Pictures [B, 3, S, S], values 0..255, as the network expects them."""
    mean, std = (
        torch.tensor(numbers, device=images.device).view(1, 3, 1, 1) for numbers in (network.mean, network.std)
    )
    return (images.float() / 255 - mean) / std
