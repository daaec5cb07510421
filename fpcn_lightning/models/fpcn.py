"""FPCN, the feature positioning comparison network: Electronics 2023, 12(23), 4805."""

from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.losses.views import Views
from fpcn_lightning.models.backbones import FeatureMaps
from fpcn_lightning.models.closer_view import MaskView, check_mask_view, closer_view
from fpcn_lightning.models.contrast import PairContrast
from fpcn_lightning.models.masked_pooling import PoolOver, area, divisor_of, pool
from fpcn_lightning.models.network import Explained, NetworkOutput, average, contributions, explained_average
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.models.positioning import Alpha, Located, Positioning


class FPCN(OnBackbone):
    """Locates the rock, weights the features by its area, and contrasts pairs of images of the batch.

    With mask, alpha and contrast off it computes what `Plain` computes, bit for bit. The centre loss is a term of the
    training loss (`loss.center`), of the pooled features before the gate. Four presets are kept apart. What each of
    them does where the paper prints something else, or nothing:

    **`model=fpcn_paper`, the paper as printed**; its data and schedule are `recipe=fpcn_paper`.

    | paper | here |
    |---|---|
    | equation 1 counts C + 1 channels | C |
    | equation 3: no value of theta | 0 |
    | equation 3 is a threshold, the prose of section 3.1 speaks of "maximum region detection" | the threshold |
    | equation 7, called global average pooling, is a sum | the mean over the map (the sum: `pool_over=nothing`) |
    | equation 6: an MLP without sizes | 2D -> 512 -> D as in the code, ReLU between, no dropout |
    | equation 9: X_bf = X_b * X_bf | X_b * X_f, the counterpart of equation 8 |
    | equation 10: no initial centres | the means of the first batch that has the class |
    | inference on a single image is not described | positioning, and the image as its own partner |

    **`model=fpcn_official`, what the authors' code computes**, without its bugs.

    | paper | here |
    |---|---|
    | equation 3: A >= mean | A > mean, the largest 8-connected component of it, and the previous block above its mean |
    | equation 4: alpha counts theta | the share of the object; the same at theta 0 |
    | equation 7: a sum | the mean over the map: features shrink with alpha squared |
    | equation 6: an MLP | two linear layers without activation, dropout 0.5 |
    | equations 8, 9: X * X_f | the residual gates of API-Net, by the own and by the partner's gate |
    | any two samples of the batch | of each image the nearest of its class and the nearest of another |
    | L_class + 0.5 centre loss | L_class + ranking with margin 0.05; no centre loss |
    | inference on a single image is not described | the head on the mean of the whole map: no mask, alpha or gate |

    **`model=fpcn`, ours**, for photographs (`experiments/photographs` has what it gives). It keeps positioning and the
    comparison of the pictures of a batch, and takes another loss for the comparison.

    | paper | here |
    |---|---|
    | equations 1, 3 | as in `fpcn_paper` |
    | equation 5: one factor for the whole map | `soft`: surroundings of a small object weigh more, as in the prose |
    | equation 7: a sum | the weighted mean: alpha decides what is kept, not how long the vector is |
    | equations 6, 8, 9: gates of pairs | none: object and whole image of each picture are contrasted with those of all
      others of the batch (`loss.supervised_contrastive`, Khosla et al. 2020) |
    | equations 10, 11: centre loss | none: the contrast brings a class together, too |
    | pairs are classified, single images at inference | single images are classified in training, too (`loss.own`) |
    | inference on a single image is not described | the head on the mean of the whole map, which is what was trained:
      the deployed network is as fast as the plain one |

    **`model=fpcn_gated`, our reading of the equations**, in which alpha has an effect of its own.

    | paper | here |
    |---|---|
    | equations 1, 3, 9 | as in `fpcn_paper` |
    | equation 5: one factor for the whole map | `soft`: surroundings of a small object weigh more, as in the prose |
    | equation 7: a sum | the weighted mean: alpha decides what is kept, not how long the vector is |
    | equation 6: an MLP without sizes | 2D -> 512 -> D, ReLU, dropout 0.5 |
    | no initialisation | a gate that starts open: the product of two small vectors hardly learns |
    | any two samples of the batch | the nearest of the same and the nearest of another class |
    | equation 11: the sum over raw features | the mean over L2-normalised ones; the sum dwarfs the cross-entropy |
    | inference on a single image is not described | positioning, and the image as its own partner |

    Version 0.1 had this preset under the name `fpcn`, with `alpha=area, pool_over=mask`, in which alpha cancels
    (`fpcn_lightning.models.masked_pooling`): results in `experiments/` that say so are of that time.

    Bugs of the authors' code that no preset reproduces:

    - nine convolutions of the last stage were in no optimiser, because it chose parameters by name: here all learn;
    - a constant or NaN map stopped the run: here it gives the full mask;
    - 14 x 14 maps, a GPU and batches of two or more were hard-coded: here any size, device and batch works;
    - an image alone in its class was paired with image 0: here it gets no pair;
    - squared distances were computed with cancellation in float32: here without;
    - masks were made image by image in NumPy, also at inference, where they were discarded: here in one batch;
    - the head had 200 classes: here as many as the data set;
    - the first epochs froze all but the last stage, whose convolutions never learned: here `training.freeze_epochs`
      freezes the whole backbone, as in API-Net, from which the code is derived.

    **Four inference modes**, all reported:

    - `as_trained` (ours): positioning and, with contrast, fusion and gate with the image as its own partner;
    - `masked` (ours): the head on the pooled features of positioning; no fusion, no gate;
    - `unmasked` (authors' code): the head on the mean of the whole map; no positioning either;
    - `mean` (ours): the mean of the logits of `masked` and `unmasked`, from one pass through the backbone. Of logits,
      not of probabilities, so that it stays linear in the map, and energy scores and class activation maps exist.

    In training, pairs are classified (`loss.classification`). `loss.own` adds the cross-entropy of the single image in
    the configured inference mode: with `masked`, `unmasked` or `mean` the network that is deployed is then trained
    itself, pairs and centres regularise it, and the fusion is not part of what is exported.

    The mask is always that of the network being trained, not that of an average of its weights.

    Args:
        classes: number of classes C.
        image_size: height and width of the images, pixels.
        backbone, pretrained, weights: see `fpcn_lightning.models.backbones.Backbone`.
        mask, theta, alpha, strict_threshold, largest_component, previous_block: see
            `fpcn_lightning.models.positioning.Positioning`.
        mask_kind: `hard`, or `soft` (see the same place).
        mask_from_epoch: the first epoch, counted from 1, that trains with mask and alpha; the epochs before train the
            mean of the whole map, without closer views. Inference always uses both.
        pool_over: what the masked sum is divided by: the area of the `map`, the sum of the `mask` or of the `weights`,
            or `nothing`; see `fpcn_lightning.models.masked_pooling`.
        contrast: train on gated pairs instead of on single images.
        gate, pairs, pairs_per_image, fusion_hidden, fusion_activation, open_gate, dropout: see
            `fpcn_lightning.models.contrast.PairContrast`.
        mask_view: in training, classify a closer view around the mask, too (`loss.mask_view`): its `box`, a `window` of
            its area, or `none`. A second pass through the backbone, whose batch statistics are then of both views.
        mask_view_share: 0..1, least height and width of that view as shares of those of the image.
        inference_mode: the one that `forward` uses.

    Raises:
        UserError: an argument has an unknown value.
    """

    inference_modes = ("as_trained", "masked", "unmasked", "mean")

    def __init__(
        self,
        classes: int,
        image_size: int,
        backbone: str,
        pretrained: bool = True,
        weights: str | Path | None = None,
        *,
        mask: bool = True,
        mask_kind: Literal["hard", "soft"] = "hard",
        mask_from_epoch: int = 1,
        theta: float = 0.0,
        alpha: Alpha = "soft",
        strict_threshold: bool = False,
        largest_component: bool = False,
        previous_block: bool = False,
        pool_over: PoolOver = "weights",
        contrast: bool = True,
        gate: Literal["product", "residual"] = "product",
        pairs: Literal["nearest", "random", "all"] = "nearest",
        pairs_per_image: int = 2,
        fusion_hidden: int = 512,
        fusion_activation: Literal["relu", "none"] = "relu",
        open_gate: bool = True,
        dropout: float = 0.5,
        mask_view: MaskView = "none",
        mask_view_share: float = 0.5,
        inference_mode: str = "as_trained",
    ) -> None:
        switches = {"mask": mask, "contrast": contrast, "open_gate": open_gate, "pretrained": pretrained}
        for key, value in switches.items():
            if not isinstance(value, bool):
                raise UserError(f"model.{key}={value} must be true or false.")
        check_choice("model.mask_kind", mask_kind, ("hard", "soft"))
        if mask_from_epoch < 1:
            raise UserError(f"model.mask_from_epoch={mask_from_epoch} must be at least 1, the first epoch.")
        check_mask_view(mask_view, mask_view_share)
        super().__init__(image_size, backbone, pretrained, weights, previous_block=previous_block)
        channels = self.backbone.channels
        self.head = nn.Linear(channels, classes)
        # Created last, so that a network without contrast draws the same initial weights as `Plain`.
        self.contrast: PairContrast | None = None
        if contrast:
            self.contrast = PairContrast(
                channels,
                hidden=fusion_hidden,
                activation=fusion_activation,
                dropout=dropout,
                open_gate=open_gate,
                gate=gate,
                pairs=pairs,
                pairs_per_image=pairs_per_image,
            )
        self.positioning = Positioning(
            mask=mask,
            soft=mask_kind == "soft",
            theta=theta,
            alpha=alpha,
            strict=strict_threshold,
            largest_component=largest_component,
            previous_block=previous_block,
        )
        self.pool_over = divisor_of(pool_over, mask=mask, alpha=alpha)
        self.mask_from_epoch, self.trains_mask = mask_from_epoch, True
        self.mask_view, self.mask_view_share = mask_view, mask_view_share
        self.choose_inference_mode(inference_mode)

    @property
    def linear_head(self) -> nn.Linear | None:
        """The layer that `inference_mode=unmasked` deploys; no other mode is a linear probe of the backbone."""
        return self.head if self.inference_mode == "unmasked" else None

    def begin_epoch(self, epoch: int) -> None:
        """Train without mask and alpha in the first epochs; `epoch` counts from 0, as Lightning's does."""
        self.trains_mask = epoch + 1 >= self.mask_from_epoch

    def predict(self, images: Tensor) -> NetworkOutput:
        """Logits [B, C] of all inference modes and the located object, also where the mask is off."""
        features, located, maps = self._positioned(images)
        logits = {mode: self._classified(mode, features, maps) for mode in self.inference_modes}
        return NetworkOutput(logits, located.inside, located.inside.float().mean((1, 2)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] of the configured inference mode; `unmasked` does not compute positioning at all."""
        if self.inference_mode == "unmasked":
            logits: Tensor = self.head(average(self.backbone(images).last))
            return logits
        features, _, maps = self._positioned(images)
        return self._classified(self.inference_mode, features, maps)

    def explained(self, images: Tensor) -> Explained:
        """Logits [B, C], class activation maps [B, C, H, W], and the located object unless `mask` is off.

        A gate is a factor for each channel of an image: a position contributes what it does with that factor fixed.
        """
        features, located, maps = self._positioned(images)
        mask = located.inside if self.positioning.mask else None
        logits = self._classified(self.inference_mode, features, maps)
        if self.inference_mode == "unmasked":
            return Explained(logits, explained_average(self.head, maps).maps, mask)
        weighted = maps * located.weights
        if self.inference_mode == "as_trained" and self.contrast is not None:
            weighted = weighted * self.contrast.own_gate(features)[:, :, None, None]
        contributed = contributions(self.head, weighted, area(located, self.pool_over))
        if self.inference_mode == "mean":
            contributed = (contributed + explained_average(self.head, maps).maps) / 2
        return Explained(logits, contributed, mask)

    def views(self, images: Tensor, labels: Tensor) -> Views:
        """Every image with its partners in the batch of all processes; single images without contrast or partners."""
        features, located, maps = self._positioned(images)
        if not self.trains_mask:
            features = average(maps)
        own_logits = self._classified(self.inference_mode, features, maps)
        alone = Views(
            self._classified("as_trained", features, maps),
            labels,
            own_logits=own_logits,
            features=features,
            whole_features=average(maps) if self.positioning.mask and self.trains_mask else None,
            mask=located.mask,
            object_ratio=located.object_ratio,
        )
        if self.mask_view != "none":
            alone = alone._replace(mask_view=self._closer(images, located) if self.trains_mask else own_logits[:0])
        return alone if self.contrast is None else self.contrast.paired(alone, self.head)

    def _positioned(self, images: Tensor) -> tuple[Tensor, Located, Tensor]:
        maps: FeatureMaps = self.backbone(images)
        located = self.positioning(maps.last, maps.previous)
        return pool(maps.last, located, self.pool_over), located, maps.last

    def _closer(self, images: Tensor, located: Located) -> Tensor:
        """Logits [B, C] of the closer views around the mask, by the same backbone and head."""
        assert self.mask_view != "none"
        views = closer_view(images, located.inside, self.mask_view, self.mask_view_share)
        logits: Tensor = self.head(average(self.backbone(views).last))
        return logits

    def _classified(self, inference_mode: str, features: Tensor, maps: Tensor) -> Tensor:
        """Logits [B, C] of single images in one inference mode, from their pooled features and whole maps."""
        if inference_mode == "as_trained" and self.contrast is not None:
            features = self.contrast.with_itself(features)
        if inference_mode == "unmasked":
            features = average(maps)
        logits: Tensor = self.head(features)
        return (logits + self.head(average(maps))) / 2 if inference_mode == "mean" else logits
