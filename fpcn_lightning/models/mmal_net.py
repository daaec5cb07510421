"""MMAL-Net, multi-branch and multi-scale attention learning: MMM 2021, arXiv 2003.09150."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.backbones import FeatureMaps
from fpcn_lightning.models.crops import crop_and_resize, enclosing_cells, pixel_boxes
from fpcn_lightning.models.network import NetworkOutput, average
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.models.positioning import Located, Positioning
from fpcn_lightning.models.windows import WINDOWS, WindowSet, choose_parts


class MMALNet(OnBackbone):
    """Classifies the image, a crop of the object and, in training, crops of its parts, with the same weights.

    One backbone, global average pooling, dropout and one linear layer are shared by three branches. The input of the
    **raw** branch is the whole image. That of the **object** branch is the box around the object that `Positioning`
    locates on the feature maps (above the mean, largest connected region, and above the mean in the block before, too),
    enlarged to the size of the image. That of the **part** branch are the windows of the object crop with the highest
    activation. Boxes and windows carry no gradient.

    In training every branch has its own mean cross-entropy, and the three are summed; in the first `raw_epochs` the raw
    branch trains alone, because boxes of an untrained network are meaningless. Inference uses the object branch, as in
    the authors' code, and no parts; the raw branch is reported in addition.

    Cost in passes through the backbone: 2 for inference; in training 2 and one of a quarter of the pixels for each
    part, 3.75 with the seven parts of `cub`. A backbone of a fixed size takes the parts at full size, which makes 9.

    The defaults are the authors' for birds, seven parts (`windows=cub`); the config that they publish has `CAR`, six
    parts, which is `windows=cars`. In the raw epochs one pass is made; their code makes all three in every epoch and
    leaves two out of the loss, so that its running statistics of batch norm have seen object and part crops by then.

    Unlike the authors' code, which fails on some maps and supports one size only: a constant or NaN map gives the whole
    image, windows scale with the map, and all boxes of a batch are cropped at once.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`; it needs a block before its last.
        windows: the authors' windows for birds (`cub`, seven parts) or for `cars` and aircraft (six larger ones).
        raw_epochs: number of epochs at the start that train the raw branch alone.
        dropout: before the linear layer.
        inference_mode: the one that `forward` uses.

    Raises:
        UserError: `windows` or `inference_mode` is unknown, `raw_epochs` is negative, or the backbone has no block
            before its last.
    """

    inference_modes = ("object", "raw")

    def __init__(
        self,
        classes: int,
        image_size: int,
        backbone: str,
        pretrained: bool = True,
        weights: str | Path | None = None,
        *,
        windows: WindowSet = "cub",
        raw_epochs: int = 1,
        dropout: float = 0.5,
        inference_mode: str = "object",
    ) -> None:
        check_choice("model.windows", windows, tuple(WINDOWS))
        if raw_epochs < 0:
            raise UserError(f"model.raw_epochs={raw_epochs} must not be negative.")
        super().__init__(image_size, backbone, pretrained, weights, previous_block=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.backbone.channels, classes)
        self.positioning = Positioning(strict=True, largest_component=True, previous_block=True)
        self.scales = WINDOWS[windows]
        self.raw_epochs, self.raw_alone = raw_epochs, False
        self.choose_inference_mode(inference_mode)

    @property
    def heat_inference_mode(self) -> str:
        """`raw`: the object branch uses only a box from the map of the whole image."""
        return "raw"

    def begin_epoch(self, epoch: int) -> None:
        """Train the raw branch alone in the first epochs."""
        self.raw_alone = epoch < self.raw_epochs

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C] of both inference modes and the located object."""
        maps = self.backbone(images)
        located = self.positioning(*maps)
        logits = {"object": self._classify(self._object(images, located)[1]), "raw": self._classify(maps.last)}
        return NetworkOutput(logits, located.inside, located.object_ratio)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of the configured inference mode; `raw` does not locate the object at all."""
        if self.inference_mode == "raw":
            return self._classify(self.backbone(images).last)
        return super().forward(images)

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Raw images, then object crops, then the parts image by image; features are those of the raw branch."""
        maps: FeatureMaps = self.backbone(images)
        located = self.positioning(*maps)
        features = average(maps.last)
        raw = self.head(self.dropout(features))
        alone = Views(raw, labels, raw, features, mask=located.mask, object_ratio=located.object_ratio)
        if self.raw_alone:
            return alone
        object_images, object_maps = self._object(images, located)
        parts = self._parts(object_images, object_maps)
        number = len(parts) // len(labels)
        logits = [raw, self._classify(object_maps), self._classify(self.backbone(parts).last)]
        weights = [torch.full_like(branch[:, 0], 1 / len(branch), dtype=torch.float32) for branch in logits]
        targets = torch.cat([labels, labels, labels.repeat_interleave(number)])
        return alone._replace(logits=torch.cat(logits), targets=targets, weights=torch.cat(weights))

    def _object(self, images: Tensor, located: Located) -> tuple[Tensor, Tensor]:
        """Crops [B, 3, S, S] of the object, and their feature maps."""
        inside, size = located.inside, (images.shape[2], images.shape[3])
        boxes = pixel_boxes(enclosing_cells(inside), (inside.shape[1], inside.shape[2]), size)
        object_images = crop_and_resize(images, boxes.unsqueeze(1), size[0]).squeeze(1)
        return object_images, self.backbone(object_images).last

    def _parts(self, object_images: Tensor, object_maps: Tensor) -> Tensor:
        """Crops [B * N, 3, S / 2, S / 2] of N parts of each object; of size S for a backbone of a fixed size."""
        size = object_images.shape[2]
        boxes = choose_parts(object_maps, self.scales, (size, object_images.shape[3]))
        return crop_and_resize(object_images, boxes, size if self.fixed_size else size // 2).flatten(0, 1)

    def _classify(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(average(maps)))
        return logits
