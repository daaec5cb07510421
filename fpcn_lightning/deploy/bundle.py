"""From a checkpoint to a bundle: calibrate, write every form of the network, measure what was written, say so."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.deploy import calibration, executorch_files, manifests
from fpcn_lightning.deploy.card import Calibrated, card
from fpcn_lightning.deploy.manifests import FLOAT, INT8, PHONE_FLOAT, PHONE_INT8
from fpcn_lightning.deploy.measure import judge, measured, predicted, unknown
from fpcn_lightning.deploy.onnx_files import write_onnx
from fpcn_lightning.deploy.predictions import Both, Side, logits_of
from fpcn_lightning.deploy.quantise import write_int8
from fpcn_lightning.deploy.wrapper import Deployed
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import CARD_NAME
from fpcn_lightning.modules.checkpoints import Loaded

logger = logging.getLogger(__name__)

LEAST_CALIBRATION_PICTURES = 100  # with fewer, the ranges of int8 are not to be trusted


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what no bundle can be made of (`fpcn_lightning.config.ExportConfig`).

    Raises:
        UserError: names the key.
    """
    if options["calibration_pictures"] < LEAST_CALIBRATION_PICTURES:
        raise UserError(
            f"export.calibration_pictures={options['calibration_pictures']} must be at least "
            f"{LEAST_CALIBRATION_PICTURES}."
        )
    if not 0 < options["coverage"] < 1:
        raise UserError(f"export.coverage={options['coverage']} is a share of pictures: above 0 and below 1.")
    if not options["max_drop"] >= 0:
        raise UserError(f"export.max_drop={options['max_drop']} is a number of points: at least 0.")
    scale = options["micrometres_per_pixel"]
    if scale is not None and not scale > 0:
        raise UserError(f"export.micrometres_per_pixel={scale} is the size of a pixel: above 0.")
    if options["executorch"]:
        executorch_files.check_installed()


def fill(
    folder: Path,
    loaded: Loaded,
    checkpoint: Path,
    data: RockDataModule,
    options: Mapping[str, Any],
    *,
    look_at_test: bool,
) -> None:
    """Write all of a bundle into an empty folder.

    Args:
        folder: to fill.
        loaded: the network and its record.
        checkpoint: the file that they come from.
        data: the pictures that it was trained with, on the same sides, after `setup`.
        options: the section `export` of the config.
        look_at_test: measure accuracies on the test side.

    Raises:
        UserError: the network cannot be written, or a file does not say what the network says.
    """
    deployed = Deployed(loaded.network, options["score"])
    lineage = manifests.describe_lineage(loaded.record.plain(), checkpoint)
    shapes = ((picture.height, picture.width) for picture in data.index.pictures)
    scale = manifests.scale_of_views(data.augmentation, shapes, options["micrometres_per_pixel"])
    reference, calibrated = _calibrate(deployed, data, look_at_test=look_at_test)
    pictures = _calibration_pictures(data, options["calibration_pictures"])
    activation_map = _write_files(folder, deployed, pictures, options)
    files = {path.name: manifests.describe_file(path) for path in sorted(folder.iterdir())}

    about: dict[str, Any] = {"activation_map": activation_map, "coverage": options["coverage"], "lineage": lineage}
    about["micrometres_per_pixel"] = scale
    manifests.write_labels(folder, data.classes)
    # Already now, so that the field's own code can ask the files.
    manifests.write_manifest(folder, deployed, data.augmentation, files, **about)
    said = {}
    for name, entry in files.items():
        logger.info("measuring %s", name)
        said[name] = predicted(folder, name, data, look_at_test=look_at_test)
        judge(name, entry, said[name], reference, options["max_drop"])
        files[name] = measured(entry, said[name], reference, options["coverage"])
    manifests.write_manifest(folder, deployed, data.augmentation, files, **about)
    shares = {name: unknown(files[name], both) for name, both in said.items()}
    shown: dict[str, Any] = {"activation_map": activation_map, "pictures": len(pictures), "options": options}
    text = card(data, deployed, files, lineage, calibrated, shares, **shown)
    (folder / CARD_NAME).write_text(text, encoding="utf-8")


def _calibrate(deployed: Deployed, data: RockDataModule, *, look_at_test: bool) -> tuple[Both, Calibrated]:
    """Set the temperature of `deployed`; the answers of PyTorch at it, and the calibration errors before and after."""
    if not data.split.val:
        raise UserError("there are no validation pictures to calibrate on: train with data.split.val above 0.")
    logger.info("fitting the temperature on %d validation pictures", len(data.split.val))
    rows = {"validation": logits_of(deployed, data.val_dataloader(), "validation, PyTorch")}
    if look_at_test and data.split.test:
        rows["test"] = logits_of(deployed, data.test_dataloader(), "test, PyTorch")
    before = {name: row.side(deployed) for name, row in rows.items()}
    own = rows["validation"]
    deployed.temperature = calibration.fitted_temperature(own.positions, own.logits, own.labels)
    if calibration.at_a_limit(deployed.temperature):
        logger.warning("the temperature lies at the end of its range: the probabilities of this network mean little")
    after = {name: row.side(deployed) for name, row in rows.items()}
    errors = {name: (_calibration_error(before[name]), _calibration_error(side)) for name, side in after.items()}
    return Both(after["validation"], after.get("test")), errors


def _calibration_error(side: Side) -> float:
    return calibration.calibration_error(side.probabilities, side.labels)


def _calibration_pictures(data: RockDataModule, wanted: int) -> NDArray[np.uint8]:
    """The middles of training pictures, uint8 [N, S, S, 3], spread evenly over the side and so over its classes."""
    train = data.split.train
    chosen = np.unique(np.linspace(0, len(train) - 1, min(wanted, len(train))).round().astype(int))
    images = data.pictures.centres([train[position] for position in chosen]).images
    return images.permute(0, 2, 3, 1).contiguous().numpy()


def _write_files(folder: Path, deployed: Deployed, pictures: NDArray[np.uint8], options: Mapping[str, Any]) -> bool:
    """Write every form of the network; whether they give an activation map."""
    side = pictures.shape[1]
    logger.info("writing %s", FLOAT)
    activation_map = write_onnx(deployed, side, folder / FLOAT, options["opset"])
    logger.info("writing %s, its ranges measured on %d training pictures", INT8, len(pictures))
    write_int8(folder / FLOAT, folder / INT8, pictures)
    if options["executorch"]:
        logger.info("writing %s and %s", PHONE_FLOAT, PHONE_INT8)
        executorch_files.write_pte(deployed, side, folder / PHONE_FLOAT)
        executorch_files.write_int8_pte(deployed, pictures, folder / PHONE_INT8)
    return activation_map
