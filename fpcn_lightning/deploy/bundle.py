"""Makes a bundle from a checkpoint: calibrates the network, writes all its forms, measures them, describes them."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.config import ExportConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.names import is_printable
from fpcn_lightning.deploy import calibration, executorch_files, manifests
from fpcn_lightning.deploy.card import CalibrationErrors, model_card
from fpcn_lightning.deploy.manifests import FLOAT, INT8, PHONE_FLOAT, PHONE_INT8
from fpcn_lightning.deploy.measure import check_predictions, measured_entry, predict_with_file, unknown_shares
from fpcn_lightning.deploy.onnx_files import write_onnx
from fpcn_lightning.deploy.predictions import DeployedPredictions, PicturePredictions, view_logits, view_statistics
from fpcn_lightning.deploy.quantise import write_int8
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import CARD_NAME
from fpcn_lightning.field.untrusted import MAX_TEXT
from fpcn_lightning.field.usability import Usability, judge
from fpcn_lightning.modules.checkpoints import Loaded

logger = logging.getLogger(__name__)

MIN_CALIBRATION_PICTURES = 100  # with fewer, the ranges of int8 are not reliable
MAX_DISTANCE_PICTURES = 2000  # that the distance is fitted to; more would not change its few numbers


def check_config(config: ExportConfig) -> None:
    """Check the section `export` of the config.

    Raises:
        UserError: names the key that is invalid.
    """
    if config.calibration_pictures < MIN_CALIBRATION_PICTURES:
        raise UserError(
            f"export.calibration_pictures={config.calibration_pictures} must be at least {MIN_CALIBRATION_PICTURES}."
        )
    if not 0 < config.coverage < 1:
        raise UserError(f"export.coverage={config.coverage} is a share of pictures: it must be above 0 and below 1.")
    if not config.max_drop >= 0:
        raise UserError(f"export.max_drop={config.max_drop} is a number of points: it must be at least 0.")
    scale = config.micrometres_per_pixel
    if scale is not None and not scale > 0:
        raise UserError(f"export.micrometres_per_pixel={scale} is the size of a pixel: it must be above 0.")
    if config.notice is not None and (not config.notice.strip() or len(config.notice) > MAX_TEXT):
        raise UserError(f"export.notice must be a sentence of at most {MAX_TEXT} characters, or null for none.")
    if config.notice is not None and not is_printable(config.notice):
        raise UserError("export.notice has a line break or another character that is not printable: remove it.")
    if config.executorch:
        executorch_files.check_installed()


def write_bundle(
    folder: Path, loaded: Loaded, checkpoint: Path, data: RockDataModule, config: ExportConfig, *, evaluate_test: bool
) -> None:
    """Write all files of a bundle into an empty folder.

    Args:
        folder: empty.
        loaded: the network and its record.
        checkpoint: the file that they are from.
        data: the pictures of the training with the same split, after `setup`.
        config: of the export.
        evaluate_test: measure accuracies on the test pictures.

    Raises:
        UserError: the network cannot be written, or the predictions of a file differ from those of PyTorch.
    """
    deployed = DeployedNetwork(loaded.network, data.augmentation.evaluation_size)
    lineage = manifests.describe_lineage(loaded.record, checkpoint)
    shapes = ((picture.height, picture.width) for picture in data.index.pictures)
    scale = manifests.scale_of_views(data.augmentation, shapes, config.micrometres_per_pixel)
    fitted_to = _fit_distance(deployed, data)
    reference, errors = _calibrate(deployed, data, evaluate_test=evaluate_test)
    usability = replace(judged(reference), notice=config.notice or "")
    if not usability.usable:
        logger.warning("the model is %s. The bundle states it wherever it is used.", usability.sentence)
    pictures = _calibration_pictures(data, config.calibration_pictures)
    outputs = _write_files(folder, deployed, pictures, config)
    photographs = manifests.count_photographs(data)
    files = {path.name: manifests.describe_file(path) for path in sorted(folder.iterdir())}
    manifests.write_labels(folder, data.classes)
    write_manifest = partial(
        manifests.write_manifest,
        folder,
        deployed,
        data.augmentation,
        outputs=outputs,
        photographs=photographs,
        coverage=config.coverage,
        lineage=lineage,
        micrometres_per_pixel=scale,
        usability=usability,
    )
    write_manifest(files)  # already now, so that the files can be measured with the code of `fpcn`
    unknown = {}
    for name, entry in list(files.items()):
        logger.info("measuring %s", name)
        predicted = predict_with_file(folder, name, data, evaluate_test=evaluate_test)
        check_predictions(name, entry, predicted, reference, config.max_drop)
        files[name] = measured_entry(entry, predicted, reference, config.coverage)
        unknown[name] = unknown_shares(files[name], predicted)
    write_manifest(files)
    card = model_card(
        data,
        deployed,
        files,
        lineage,
        errors,
        unknown,
        usability,
        outputs=outputs,
        photographs=photographs,
        pictures=len(pictures),
        fitted_to=fitted_to,
        config=config,
    )
    (folder / CARD_NAME).write_text(card, encoding="utf-8")


def _fit_distance(deployed: DeployedNetwork, data: RockDataModule) -> int:
    """Fit the distance of `deployed` to the training pictures, as they are seen in validation; their number."""
    chosen = _spread(data.split.train, MAX_DISTANCE_PICTURES)
    logger.info("fitting the distance of unknown pictures to %d training pictures", len(chosen))
    views = data.every_view(chosen, data.augmentation)
    deployed.distance.fit(view_statistics(deployed, views, "distance of unknown pictures"))
    return len(chosen)


def _spread(train: Sequence[int], count: int) -> list[int]:
    """At most `count` pictures, spread evenly over the split and thus over its classes."""
    places = np.unique(np.linspace(0, len(train) - 1, min(count, len(train))).round().astype(int))
    return [train[place] for place in places]


def _calibrate(
    deployed: DeployedNetwork, data: RockDataModule, *, evaluate_test: bool
) -> tuple[DeployedPredictions, CalibrationErrors]:
    """Set the temperature of `deployed`; PyTorch's predictions at it, and the calibration errors before and after."""
    if not data.split.val:
        raise UserError("there are no validation pictures to calibrate on: train with data.split.val above 0.")
    logger.info("fitting the temperature on %d validation pictures", len(data.split.val))
    logits = {"val": view_logits(deployed, data.val_dataloader(), "val, PyTorch")}
    if evaluate_test and data.split.test:
        logits["test"] = view_logits(deployed, data.test_dataloader(), "test, PyTorch")
    before = {split: views.predictions(deployed) for split, views in logits.items()}
    val = logits["val"]
    deployed.temperature = calibration.fitted_temperature(val.positions, val.logits, val.labels)
    if calibration.at_a_limit(deployed.temperature):
        logger.warning("the temperature is at a limit of its range: the probabilities of this network mean little")
    after = {split: views.predictions(deployed) for split, views in logits.items()}
    errors = {split: (_calibration_error(before[split]), _calibration_error(after[split])) for split in logits}
    return DeployedPredictions(after["val"], after.get("test")), errors


def judged(predicted: DeployedPredictions) -> Usability:
    """Whether the model may be used, by its predictions for the test pictures or, without these, for validation."""
    split, pictures = ("validation", predicted.val) if predicted.test is None else ("test", predicted.test)
    return judge(
        pictures.probabilities.numpy(),
        pictures.labels.numpy(),
        split=split,
        validation_pictures=len(predicted.val.labels),
    )


def _calibration_error(predictions: PicturePredictions) -> float:
    return calibration.calibration_error(predictions.probabilities, predictions.labels)


def _calibration_pictures(data: RockDataModule, count: int) -> NDArray[np.uint8]:
    """The centres of training pictures, uint8 [N, S, S, 3]."""
    images = data.pictures.centres(_spread(data.split.train, count)).images
    return images.permute(0, 2, 3, 1).contiguous().numpy()


def _write_files(
    folder: Path, deployed: DeployedNetwork, pictures: NDArray[np.uint8], config: ExportConfig
) -> tuple[str, ...]:
    """Write all forms of the network; the names of what the ONNX files return."""
    size = pictures.shape[1]
    logger.info("writing %s", FLOAT)
    outputs = write_onnx(deployed, size, folder / FLOAT, config.opset)
    logger.info("writing %s, its ranges measured on %d training pictures", INT8, len(pictures))
    write_int8(folder / FLOAT, folder / INT8, pictures)
    if config.executorch:
        logger.info("writing %s and %s", PHONE_FLOAT, PHONE_INT8)
        executorch_files.write_pte(deployed, size, folder / PHONE_FLOAT)
        executorch_files.write_int8_pte(deployed, pictures, folder / PHONE_INT8)
    return outputs
