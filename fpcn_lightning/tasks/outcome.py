"""What training and evaluation both record about a run, and the files that they write to its folder."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from numpy.typing import NDArray

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.network import Network
from fpcn_lightning.modules.classifier import Classifier
from fpcn_lightning.profiling import cost
from fpcn_lightning.profiling.device import device_name
from fpcn_lightning.profiling.latency import milliseconds
from fpcn_lightning.runs.predictions import PREDICTIONS_NAME, write_predictions
from fpcn_lightning.runs.recording import RunRecord
from fpcn_lightning.runs.results import DataFacts, ImageCounts, NetworkFacts
from fpcn_lightning.tracking.wandb_outcome import log_outcome


def describe(record: RunRecord, data: RockDataModule, network: Network, *, training: bool) -> None:
    """Record data, network and device before a run computes anything.

    Args:
        record: of the run.
        data: after `setup`.
        network: the network to train or to test.
        training: whether it is trained; then the cost of training is recorded, too.
    """
    images = ImageCounts(train=len(data.split.train), val=len(data.split.val), test=len(data.split.test))
    size = data.augmentation.evaluation_size
    found = NetworkFacts(
        parameters=cost.parameters(network),
        macs=cost.macs(network, size) * data.pictures.rows_a_picture,  # of all tiles of an image
        input_size=size,
        weights=network.weights_source,
    )
    if training:
        found["training_macs"] = cost.training_macs(network, data.config.crop, len(data.classes))
    record.add(
        data=DataFacts(
            classes=list(data.classes),
            fingerprint=data.split.fingerprint,
            images=images,
            refused=len(data.index.refused),
            published=data.published,
        ),
        network=found,
        device=device_name(),
        inference_mode=network.inference_mode,
    )


def save_fitted(trainer: Trainer, module: Classifier, data: RockDataModule) -> None:
    """Save a network that is not trained in steps where the best epoch of others is saved."""
    trainer.validate(module, data, verbose=False)
    checkpoint = trainer.checkpoint_callback
    if isinstance(checkpoint, ModelCheckpoint):
        checkpoint.best_model_path = checkpoint.format_checkpoint_name({})
        trainer.save_checkpoint(checkpoint.best_model_path)


def evaluate_best(trainer: Trainer, module: Classifier, data: RockDataModule, record: RunRecord, *, test: bool) -> None:
    """Evaluate the best epoch on the validation split and, once, on the test split; record metrics and checkpoint.

    Raises:
        UserError: its predictions are NaN or infinite.
    """
    checkpoint = trainer.checkpoint_callback
    best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
    with record.timed("test"):
        trainer.validate(module, data, ckpt_path=best or None, verbose=False, weights_only=True)
        if test:
            trainer.test(module, data, ckpt_path=best or None, verbose=False, weights_only=True)
    if not all(predicted.probabilities.isfinite().all() for predicted in module.predictions.values()):
        raise UserError(
            "the network's predictions are NaN or infinite: training diverged; lower the learning rate, optimizer.lr."
        )
    record.add(
        metrics={"val": module.measured["val"], "test": module.measured["test"]},
        checkpoint=Path(best).relative_to(record.folder).as_posix() if best else None,
    )


def save(trainer: Trainer, module: Classifier, data: RockDataModule, record: RunRecord) -> None:
    """Write predictions to the run folder, time the trained network, and log the outcome to W&B."""
    size = data.augmentation.evaluation_size
    if record.result["network"]:
        timed = milliseconds(module.network, size, trainer.strategy.root_device)
        record.result["network"]["milliseconds"] = round(timed, 3)
    if "test" in module.predictions:
        save_predictions(module, data, record.folder)
    log_outcome(trainer.loggers, module, data, record.result)


def save_predictions(module: Classifier, data: RockDataModule, folder: Path) -> None:
    """Write the predictions of the test images, worst first."""
    positions, probabilities, ratios = module.predictions["test"]
    found = None if ratios is None else ratios.numpy()
    write_predictions_on(data, positions.tolist(), probabilities.numpy(), found, folder / PREDICTIONS_NAME)


def write_predictions_on(
    data: RockDataModule,
    positions: Sequence[int],
    probabilities: NDArray[np.float32],
    object_ratios: NDArray[np.float32] | None,
    path: Path,
) -> None:
    """Write predictions with the names, labels and true masks of their images.

    Args:
        data: after `setup`.
        positions: of the N images in its index.
        probabilities: [N, C].
        object_ratios: [N], 0..1, from a network that locates the object.
        path: file to write.
    """
    masks = [data.true_mask(position) for position in positions]
    write_predictions(
        path,
        names=[data.index.pictures[position].name for position in positions],
        labels=[data.pictures.pictures[position].label for position in positions],
        classes=data.classes,
        probabilities=probabilities,
        object_ratios=object_ratios,
        true_object_ratios=[math.nan if mask is None else float(mask.mean()) for mask in masks],
    )
