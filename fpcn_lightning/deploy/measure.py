"""What the files of a bundle are worth, found out through the very code that the field runs them with."""

from pathlib import Path

import torch

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.deploy import calibration, executorch_files
from fpcn_lightning.deploy.predictions import Ask, Both, Side, side_of
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.manifest import ModelFile
from fpcn_lightning.field.model import BundleModel

PARITY = 1e-4  # of probability, between PyTorch and a file in float32


def predicted(folder: Path, name: str, data: RockDataModule, *, look_at_test: bool) -> Both:
    """What the file `name` of the bundle in `folder` says."""
    ask = _opened(folder, name)
    validation = side_of(ask, data.val_dataloader(), f"validation, {name}")
    looked = look_at_test and data.split.test
    return Both(validation, side_of(ask, data.test_dataloader(), f"test, {name}") if looked else None)


def judge(name: str, entry: ModelFile, said: Both, reference: Both, max_drop: float) -> None:
    """Compare what a file says with what PyTorch says, on test or, where that is not looked at, on validation.

    Raises:
        UserError: a float file gives other probabilities, or one of eight bits loses more than `max_drop` points.
    """
    sides = {"validation": (said.validation, reference.validation)}
    if said.test and reference.test:
        sides["test"] = (said.test, reference.test)
    if entry["precision"] == "fp32":
        for distance in (mine.distance(theirs) for mine, theirs in sides.values()):
            if not distance <= PARITY:  # nor when it is no number
                raise UserError(
                    f"{name} differs from PyTorch by {distance:.2g} in a probability, more than {PARITY:g}: try "
                    "another export.opset."
                )
        return
    side, (mine, theirs) = list(sides.items())[-1]
    drop = 100 * (theirs.accuracy - mine.accuracy)
    if drop > max_drop + 1e-9:
        raise UserError(
            f"{name} loses {drop:.2f} points of {side} accuracy, more than export.max_drop={max_drop:g}: give more "
            "export.calibration_pictures, or allow it with a larger export.max_drop."
        )


def measured(entry: ModelFile, said: Both, reference: Both, coverage: float) -> ModelFile:
    """The entry of a file with its own accuracy, threshold and quantiles."""
    own = entry.copy()
    own["threshold"] = calibration.threshold(said.validation.score, coverage)
    own["quantiles"] = calibration.conformal_quantiles(said.validation.probabilities, said.validation.labels)
    if said.test and reference.test:
        own["accuracy"], own["agreement"] = said.test.accuracy, said.test.agreement(reference.test)
    return own


def unknown(entry: ModelFile, said: Both) -> tuple[float, float | None]:
    """Shares of validation and test pictures that the file calls unknown, 0..1."""

    def share(side: Side) -> float:
        return float((side.score < entry["threshold"]).double().mean())

    return share(said.validation), share(said.test) if said.test else None


def _opened(folder: Path, name: str) -> Ask:
    if name.endswith(".pte"):
        return executorch_files.runner(folder / name)
    return BundleModel(read_bundle(folder), name, torch.get_num_threads())
