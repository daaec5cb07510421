"""A checkpoint as the model file of a bundle, run by PyTorch: photographs are classified by the code of `fpcn`."""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fpcn_lightning.data.preparation import make_augmentation
from fpcn_lightning.deploy.manifests import describe_lineage
from fpcn_lightning.deploy.wrapper import SCORE, DeployedNetwork
from fpcn_lightning.field.bundle import Bundle
from fpcn_lightning.field.manifest import ModelFile
from fpcn_lightning.field.model import BundleModel, ModelOutputs
from fpcn_lightning.field.usability import Usability
from fpcn_lightning.modules.checkpoints import load
from fpcn_lightning.runs.recording import file_hash

NOT_CALIBRATED = "a checkpoint is not calibrated: export it for probabilities and `unknown` that can be relied on"


class CheckpointModel(BundleModel):
    """The network of a checkpoint; its views are those of validation and test.

    The distance from the training pictures is fitted at export: here the score is 0, no photograph is `unknown`, and
    there are no prediction sets; its bundle is not usable, with the reason `NOT_CALIBRATED`.

    Args:
        checkpoint: the file.

    Raises:
        UserError: the file is missing, or no checkpoint of this package.
    """

    def __init__(self, checkpoint: Path) -> None:
        digest = file_hash(checkpoint, "checkpoint")
        loaded = load(checkpoint)
        lineage = describe_lineage(loaded.record, checkpoint)
        views = make_augmentation(loaded.record.data)
        self._network = DeployedNetwork(loaded.network, views.evaluation_size)
        self.file = checkpoint.name
        self.bundle = Bundle(
            folder=checkpoint.parent,
            digest=digest,
            name=f"{lineage.name}-{lineage.variant}",
            classes=tuple(loaded.record.classes),
            views=views,
            micrometres_per_pixel=None,
            files={self.file: _entry(checkpoint, digest)},
            default=self.file,
            activation_map=False,
            object_mask=False,
            photographs=None,
            score=SCORE,
            coverage=1.0,
            temperature=self._network.temperature,
            lineage=dict(vars(lineage)),
            usability=Usability((NOT_CALIBRATED,)),
        )
        self._path = checkpoint

    @torch.inference_mode()
    def __call__(self, images: NDArray[np.uint8]) -> ModelOutputs:
        """Classify views, uint8 [B, S, S, 3], RGB."""
        probabilities = self._network.probabilities(self._network.logits(torch.from_numpy(images)))
        return ModelOutputs(probabilities.numpy(), np.zeros(len(images), np.float32), None, None)


def _entry(checkpoint: Path, digest: str) -> ModelFile:
    return ModelFile(
        runtime="onnxruntime",
        precision="fp32",
        bytes=checkpoint.stat().st_size,
        sha256=digest,
        accuracy=None,
        agreement=None,
        threshold=-math.inf,
        quantiles={},
    )
