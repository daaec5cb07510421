"""Attention maps in addition to the feature maps of a backbone: PCA-Net (arXiv 2101.08527), after WS-DAN."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from fpcn_lightning.models.backbones import Backbone

ATTENTION_MAPS = 32


class Attended(NamedTuple):
    """Feature maps [B, D, H, W] and attention maps [B, 32, H, W], the latter at least 0."""

    features: Tensor
    attention: Tensor


class AttentionMaps(nn.Module):
    """Computes features and 32 attention maps from the last stage of a backbone.

    A ResNet of bottleneck blocks is cut in its last stage, as in the authors' code of PCA-Net: its second block stops
    after the 3 x 3 convolution. The features are the output of that block's first convolution, the attention maps are
    the first 32 channels of its second one, each after batch norm and ReLU. The block's last convolution and the
    blocks after it are removed; the authors' code keeps some of them and never uses them.

    Every other backbone keeps its last map as features; a 1 x 1 convolution, batch norm and ReLU make the attention
    maps, as in WS-DAN (Hu et al. 2019, arXiv 1901.09891). This extension is ours.

    Args:
        backbone: with its weights; a ResNet is cut in place. It does not become a submodule.

    Attributes:
        channels: D.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.convolution: nn.Module | None = None
        if _stop_in_second_bottleneck(backbone):
            self.channels = backbone.channels - ATTENTION_MAPS
        else:
            self.channels = backbone.channels
            self.convolution = nn.Sequential(
                nn.Conv2d(self.channels, ATTENTION_MAPS, kernel_size=1, bias=False),
                nn.BatchNorm2d(ATTENTION_MAPS),
                nn.ReLU(),
            )

    def forward(self, maps: Tensor) -> Attended:
        """Features and attention maps from the backbone's last maps [B, C, H, W]."""
        if self.convolution is None:
            return Attended(maps[:, : self.channels], maps[:, self.channels :])
        return Attended(maps, self.convolution(maps))


class _StoppedBottleneck(nn.Module):
    """The first two convolutions of a bottleneck block; returns features and attention maps, concatenated."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        parts = {name: block.get_submodule(name) for name in ("conv1", "bn1", "conv2", "bn2")}
        self.features = nn.Sequential(parts["conv1"], parts["bn1"], nn.ReLU())
        self.attention = nn.Sequential(parts["conv2"], parts["bn2"], nn.ReLU())

    def forward(self, maps: Tensor) -> Tensor:
        features = self.features(maps)
        return torch.cat([features, self.attention(features)[:, :ATTENTION_MAPS]], dim=1)


def _stop_in_second_bottleneck(backbone: Backbone) -> bool:
    """Cut the last stage of a ResNet; return whether this backbone is one."""
    from timm.models.resnet import Bottleneck
    from torchvision.models.resnet import Bottleneck as TorchvisionBottleneck

    stage = getattr(backbone.model, "layer4", None)
    if not isinstance(stage, nn.Sequential) or len(stage) < 2:
        return False
    block = stage[1]
    if not isinstance(block, Bottleneck | TorchvisionBottleneck):
        return False
    backbone.model.layer4 = nn.Sequential(stage[0], _StoppedBottleneck(block))
    backbone.channels = block.conv1.out_channels + ATTENTION_MAPS
    return True
