"""One adapter for every backbone: any timm model, torchvision's where timm has none, as maps [B, C, H, W].

timm models return features in three layouts (channels first, channels last as Swin, tokens as ViT); torchvision models
are cut before their pooling. Parts that the feature maps do not depend on (the classifier and its norm) are removed, so
that every remaining parameter is trained.
"""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fpcn_lightning.errors import UserError, closest
from fpcn_lightning.models import weights

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TORCHVISION = "torchvision."
# Children of torchvision's networks that come after the last feature map.
TORCHVISION_HEADS = ("avgpool", "fc", "classifier", "dropout", "aux1", "aux2", "AuxLogits", "flatten")
ATTENTION = ("swin", "vit", "maxvit")  # timm has all of them, and reports the layout of their features


class FeatureMaps(NamedTuple):
    """The last feature map [B, C, H, W] and, if requested, that of the block before it [B, C', H, W], average-pooled to
    the same H and W where it is larger."""

    last: Tensor
    previous: Tensor | None


class Backbone(nn.Module):
    """A convolutional or transformer backbone without its classifier.

    Args:
        name: a timm name, or `torchvision.NAME`.
        image_size: height and width of the images, pixels; transformers with a fixed grid are built for it.
        pretrained: load ImageNet weights: from `weights_file`, else from an installed package that contains them
            (`fpcn_lightning.models.weights`), else from the library's own download.
        weights_file: a file of tensors.
        previous_block: also return the map of the block before the last one (FPCN's released code, MMAL-Net).

    Attributes:
        channels: C of the last map.
        last: an identity whose output is the last map [B, C, H, W]; the place for hooks.
        mean, std: the normalisation that the weights were trained with.
        weights_source: where the weights came from, as text.
        fixed_size: whether it accepts images of `image_size` only.

    Raises:
        UserError: the name is unknown, the model has no two-dimensional feature maps, or the weights cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        *,
        image_size: int,
        pretrained: bool = True,
        weights_file: str | Path | None = None,
        previous_block: bool = False,
    ) -> None:
        super().__init__()
        source = _Source(name, image_size, pretrained, weights_file)
        self.model, self.weights_source = source.make()
        self.mean, self.std, self.fixed_size = source.mean, source.std, source.fixed_size
        self.last = nn.Identity()  # the last map passes through this one module, whatever the layout of the model
        self._layout = getattr(self.model, "output_fmt", "NCHW")
        if getattr(self.model, "num_prefix_tokens", None) is not None:
            self._layout = "NLC"
        self._rank = 3 if self._layout == "NLC" else 4
        self.channels, self._previous_name = self._inspect(image_size, previous_block)

    def forward(self, images: Tensor) -> FeatureMaps:
        """Maps of images [B, 3, S, S]."""
        if self._previous_name is None:
            return FeatureMaps(self.last(self._as_map(self._features(images))), None)
        kept: list[Tensor] = []
        block = self.model.get_submodule(self._previous_name)
        handle = block.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
        try:
            last = self.last(self._as_map(self._features(images)))
        finally:
            handle.remove()
        previous = self._as_map(kept[0])
        if previous.shape[-2:] != last.shape[-2:]:
            previous = nn.functional.adaptive_avg_pool2d(previous, (last.shape[2], last.shape[3]))
        return FeatureMaps(last, previous)

    def _features(self, images: Tensor) -> Tensor:
        features = getattr(self.model, "forward_features", self.model)(images)
        if not isinstance(features, Tensor):
            raise UserError("this backbone does not return one feature map: choose another model.backbone.")
        return features

    def _as_map(self, features: Tensor) -> Tensor:
        if features.ndim == 3 and self._layout == "NLC":
            tokens = features[:, self.model.num_prefix_tokens :].transpose(1, 2)
            size = int(tokens.shape[2] ** 0.5)
            return tokens.reshape(*tokens.shape[:2], size, size)
        if features.ndim != 4:
            raise UserError(
                f"this backbone returns features of shape {tuple(features.shape)}, not feature maps: choose another "
                "model.backbone."
            )
        return features.permute(0, 3, 1, 2) if self._layout == "NHWC" else features

    @torch.enable_grad()
    def _inspect(self, image_size: int, previous_block: bool) -> tuple[int, str | None]:
        """Find the channels and the name of the block before the last map in one forward pass; remove unused parts."""
        passed: dict[str, torch.Size] = {}  # in the order in which they finish

        def record(name: str) -> Callable[[nn.Module, object, object], None]:
            return lambda _module, _inputs, output: (
                passed.update({name: output.shape}) if isinstance(output, Tensor) else None
            )

        handles = [module.register_forward_hook(record(name)) for name, module in self.model.named_modules() if name]
        training = self.model.training
        self.model.eval()
        last = self._as_map(self._features(torch.zeros(1, 3, image_size, image_size)))
        self.model.train(training)
        for handle in handles:
            handle.remove()
        self._remove_unused_parts(last)
        return last.shape[1], self._block_before(passed) if previous_block else None

    def _remove_unused_parts(self, last: Tensor) -> None:
        # Determined from gradients, not from forward hooks: some parts (rotary embeddings) are used without a call.
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(last.sum(), trainable, allow_unused=True)
        unused = {parameter for parameter, gradient in zip(trainable, gradients, strict=True) if gradient is None}
        for name, module in list(self.model.named_children()):
            parameters = set(module.parameters())
            if parameters and parameters <= unused:
                setattr(self.model, name, nn.Identity())

    def _block_before(self, passed: dict[str, torch.Size]) -> str:
        """The block that finished before the last one; a block is an element of a sequence and has submodules."""
        blocks = [name for name in passed if self._is_block(name, passed[name])]
        final = blocks.pop() if blocks else ""
        # A stage finishes right after its last block: take that block as the last one, not the stage.
        while blocks and blocks[-1].startswith(f"{final}.") and passed[blocks[-1]] == passed[final]:
            final = blocks.pop()
        for name in reversed(blocks):
            if not name.startswith(f"{final}."):
                return name
        raise UserError(
            "this backbone has no block before its last one: choose another model.backbone, or for FPCN set "
            "model.previous_block=false."
        )

    def _is_block(self, name: str, shape: torch.Size) -> bool:
        parent = self.model.get_submodule(name.rpartition(".")[0])
        has_parts = any(True for _ in self.model.get_submodule(name).children())
        return isinstance(parent, nn.Sequential | nn.ModuleList) and has_parts and len(shape) == self._rank


class _Source:
    """Builds a backbone by its name; knows where its weights come from and which normalisation they expect."""

    def __init__(self, name: str, image_size: int, pretrained: bool, weights_file: str | Path | None) -> None:
        self.name, self.image_size = name, image_size
        self.file = Path(weights_file) if weights_file else weights.packaged_file(name) if pretrained else None
        self.from_library = pretrained and self.file is None
        self.mean, self.std, self.fixed_size = IMAGENET_MEAN, IMAGENET_STD, False

    def make(self) -> tuple[nn.Module, str]:
        """The model and where its weights came from."""
        build = self._torchvision if self.name.startswith(TORCHVISION) else self._timm
        model = weights.download(self.name, build) if self.from_library else build()
        if self.file is not None:
            weights.load_file(model, self.file)
            return model, f"file {self.file.name}"
        return model, "ImageNet, downloaded by the library" if self.from_library else "random"

    def _timm(self) -> nn.Module:
        import timm
        from timm.data.config import resolve_model_data_config

        architecture = self.name.split(".")[0]
        if not timm.is_model(architecture):
            near = closest(architecture, timm.list_models())
            raise UserError(f"model.backbone={self.name} is not a timm model{near}.")
        tags = timm.models.get_arch_pretrained_cfgs(architecture)
        if self.name not in (architecture, *tags):
            near = closest(self.name, tags)
            raise UserError(f"model.backbone={self.name} names no pretrained weights of timm{near}.")
        self.fixed_size = bool(getattr(timm.get_pretrained_cfg(self.name), "fixed_input_size", False))
        size: dict[str, Any] = {"img_size": self.image_size} if self.fixed_size else {}
        model: nn.Module = timm.create_model(self.name, pretrained=self.from_library, num_classes=0, **size)
        settings = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
        self.mean, self.std = tuple(settings["mean"]), tuple(settings["std"])
        return model

    def _torchvision(self) -> nn.Module:
        from torchvision import models

        name = self.name.removeprefix(TORCHVISION)
        known = [model for model in models.list_models(module=models) if not model.startswith(ATTENTION)]
        if name not in known:
            raise UserError(
                f"model.backbone={self.name} is not a convolutional network of torchvision{closest(name, known)}."
            )
        options = {"init_weights": True} if name in ("googlenet", "inception_v3") and not self.from_library else {}
        model = models.get_model(name, weights="DEFAULT" if self.from_library else None, **options)
        if getattr(model, "transform_input", False):
            self.mean, self.std = (0.5,) * 3, (0.5,) * 3  # equivalent to its own input transform
        if hasattr(model, "features"):
            return nn.Sequential(model.features)
        parts = [(part, module) for part, module in model.named_children() if part not in TORCHVISION_HEADS]
        return nn.Sequential(OrderedDict(parts))
