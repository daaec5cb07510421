"""CAM methods that differ from those of the package grad-cam; importing this file needs the package."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM, ScoreCAM
from torch import Tensor
from torch.nn import functional

ChooseLogit = Callable[[Tensor], Tensor]  # the logits [C] of one image in, the one that is explained out

MASKED_AT_ONCE = 16  # images


class OrientedEigenCAM(EigenCAM):  # type: ignore[misc]
    """Eigen-CAM (Muhammad, Yeasin, IJCNN 2020), with the sign that agrees with the magnitudes of the feature map.

    The sign of a principal component is arbitrary; the package does not choose it, and may highlight the background.
    """

    def get_cam_image(self, *arguments: Any) -> NDArray[np.float32]:
        """The first principal component [B, H, W] of the activations [B, C, H, W], the fourth argument."""
        activations: NDArray[np.float32] = arguments[3]
        component: NDArray[np.float32] = super().get_cam_image(*arguments)
        magnitudes = np.abs(activations).sum(axis=1)
        agreement = (component * (magnitudes - magnitudes.mean((1, 2), keepdims=True))).sum((1, 2), keepdims=True)
        return np.where(agreement < 0, -component, component)


class BoundedScoreCAM(ScoreCAM):  # type: ignore[misc]
    """Score-CAM (Wang et al., CVPR workshops 2020) in bounded memory and without progress bars.

    The package masks the image by all channels at once: 10 GB for a ResNet-50 at 448 px.
    """

    @torch.no_grad()
    def get_cam_weights(
        self,
        input_tensor: Tensor,
        target_layer: Any,  # noqa: ARG002 - the signature of the package
        targets: Sequence[ChooseLogit],
        activations: NDArray[np.float32],
        grads: Any,  # noqa: ARG002
    ) -> NDArray[np.float32]:
        """Softmax [B, C] over the channels of the logits of the images [B, 3, S, S] masked by each channel."""
        maps = torch.from_numpy(activations)
        scores = [
            torch.cat([self._scores(image, part, target) for part in channels.split(MASKED_AT_ONCE)])
            for image, channels, target in zip(input_tensor, maps, targets, strict=True)
        ]
        weights: NDArray[np.float32] = torch.stack(scores).softmax(dim=1).numpy()
        return weights

    def _scores(self, image: Tensor, channels: Tensor, target: ChooseLogit) -> Tensor:
        """The logits [K] of the image [3, S, S] masked by each of K channels [K, H, W], scaled to 0..1."""
        masks = channels.to(image.device).unsqueeze(1)
        masks = functional.interpolate(masks, image.shape[1:], mode="bilinear", align_corners=True)
        low, high = masks.amin((2, 3), keepdim=True), masks.amax((2, 3), keepdim=True)
        logits = self.model(image * ((masks - low) / (high - low + 1e-8)))
        return torch.stack([target(prediction) for prediction in logits]).float().cpu()
