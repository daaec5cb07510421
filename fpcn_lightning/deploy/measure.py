"""Measures the files of a bundle with the code that `fpcn` runs them with."""

from pathlib import Path

import torch

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.deploy import calibration, executorch_files
from fpcn_lightning.deploy.predictions import (
    DeployedPredictions,
    PicturePredictions,
    PredictViews,
    picture_predictions,
)
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.manifest import MAX_MAPPED_CLASSES, ModelFile
from fpcn_lightning.field.model import BundleModel

CONFUSION_DIGITS = 4  # of a number of pictures
PARITY = 1e-4  # of probability, between PyTorch and a file in float32
SCORE_PARITY = 1e-2  # likewise, as a share of a score


def predict_with_file(folder: Path, name: str, data: RockDataModule, *, evaluate_test: bool) -> DeployedPredictions:
    """The predictions of the file `name` of the bundle in `folder`."""
    predict = _load(folder, name)
    val = picture_predictions(predict, data.val_dataloader(), f"val, {name}")
    with_test = evaluate_test and data.split.test
    test = picture_predictions(predict, data.test_dataloader(), f"test, {name}") if with_test else None
    return DeployedPredictions(val, test)


def check_predictions(
    name: str, entry: ModelFile, predicted: DeployedPredictions, reference: DeployedPredictions, max_drop: float
) -> None:
    """Compare the predictions of a file with those of PyTorch.

    Accuracies are compared on the test pictures or, if these are not evaluated, on the validation pictures.

    Raises:
        UserError: a float file returns other probabilities or scores, or an int8 file loses more than `max_drop`
            points.
    """
    splits = {"validation": (predicted.val, reference.val)}
    if predicted.test and reference.test:
        splits["test"] = (predicted.test, reference.test)
    if entry["precision"] == "fp32":
        for distance in (mine.distance(theirs) for mine, theirs in splits.values()):
            if not distance <= PARITY:  # also if it is NaN
                raise UserError(
                    f"{name} differs from PyTorch by {distance:.2g} in a probability, more than {PARITY:g}: try "
                    "another export.opset."
                )
        for difference in (mine.score_difference(theirs) for mine, theirs in splits.values()):
            if not difference <= SCORE_PARITY:
                raise UserError(
                    f"{name} differs from PyTorch by {difference:.1%} in a score, more than {SCORE_PARITY:.0%}: try "
                    "another export.opset."
                )
        return
    split, (mine, theirs) = list(splits.items())[-1]
    drop = 100 * (theirs.accuracy - mine.accuracy)
    if drop > max_drop + 1e-9:
        raise UserError(
            f"{name} loses {drop:.2f} points of {split} accuracy, more than export.max_drop={max_drop:g}: increase "
            "export.calibration_pictures, or accept the loss with a larger export.max_drop."
        )


def measured_entry(
    entry: ModelFile, predicted: DeployedPredictions, reference: DeployedPredictions, coverage: float
) -> ModelFile:
    """The entry of a file with its accuracy, threshold and quantiles."""
    measured = entry.copy()
    measured["threshold"] = calibration.threshold(predicted.val.score, coverage)
    measured["quantiles"] = calibration.conformal_quantiles(predicted.val.probabilities, predicted.val.labels)
    if predicted.test and reference.test:
        measured["accuracy"] = predicted.test.accuracy
        measured["agreement"] = predicted.test.agreement(reference.test)
        if len(predicted.test.window_confusion) <= MAX_MAPPED_CLASSES:
            rounded = predicted.test.window_confusion.numpy().round(CONFUSION_DIGITS)
            measured["window_confusion"] = rounded.tolist()
    return measured


def unknown_shares(entry: ModelFile, predicted: DeployedPredictions) -> tuple[float, float | None]:
    """Shares of validation and test pictures that the file calls unknown, 0..1."""

    def share(pictures: PicturePredictions) -> float:
        return float((pictures.score < entry["threshold"]).double().mean())

    return share(predicted.val), share(predicted.test) if predicted.test else None


def _load(folder: Path, name: str) -> PredictViews:
    if name.endswith(".pte"):
        return executorch_files.load_pte(folder / name)
    return BundleModel(read_bundle(folder), name, torch.get_num_threads())
