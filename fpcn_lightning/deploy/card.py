"""The model card of a bundle: what people must know before they use it."""

from collections.abc import Mapping, Sequence
from math import sqrt

from jinja2 import Environment, PackageLoader, StrictUndefined

from fpcn_lightning.config import ExportConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.deploy.calibration import at_a_limit
from fpcn_lightning.deploy.manifests import BundleLineage
from fpcn_lightning.deploy.wrapper import DeployedNetwork
from fpcn_lightning.field.manifest import ModelFile, PhotographCounts
from fpcn_lightning.field.usability import Usability
from fpcn_lightning.installation import install_command
from fpcn_lightning.report.text_table import markdown_text

CalibrationErrors = dict[str, tuple[float, float]]
"""By split (val, test): the expected calibration error of PyTorch before and after the temperature, 0..1."""

UnknownShares = dict[str, tuple[float, float | None]]
"""By file: the shares of validation and test pictures that it calls unknown, 0..1."""


def model_card(
    data: RockDataModule,
    deployed: DeployedNetwork,
    files: Mapping[str, ModelFile],
    lineage: BundleLineage,
    errors: CalibrationErrors,
    unknown: UnknownShares,
    usability: Usability,
    *,
    outputs: Sequence[str],
    photographs: PhotographCounts,
    pictures: int,
    fitted_to: int,
    config: ExportConfig,
) -> str:
    """The text of `card.md`.

    Args:
        data: what the network was trained and measured with.
        deployed: the network, calibrated.
        files: the measured entry of each.
        lineage: where the network comes from.
        errors: calibration errors.
        unknown: shares of unknown pictures.
        outputs: names of what the ONNX files return.
        photographs: their numbers by class.
        usability: the verdict on the model.
        pictures: number of pictures on which the ranges of int8 were measured.
        fitted_to: number of training pictures that the distance was fitted to.
        config: of the export.
    """
    environment = Environment(
        loader=PackageLoader("fpcn_lightning.deploy", "."),
        undefined=StrictUndefined,
        finalize=lambda value: markdown_text(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": _percent, "megabytes": _megabytes}
    split = data.split
    counts = {"train": len(split.train), "val": len(split.val), "test": len(split.test)}
    return environment.get_template("card.md.jinja").render(
        classes=data.classes,
        counts=counts,
        views=data.augmentation,
        deployed=deployed,
        files=files,
        standard_errors={name: _standard_error(entry["accuracy"], counts["test"]) for name, entry in files.items()},
        lineage=lineage,
        calibration_errors=errors,
        unknown=unknown,
        outputs=outputs,
        by_class=list(zip(data.classes, photographs["train"], photographs["val"], photographs["test"], strict=True)),
        usability=usability,
        pictures=pictures,
        fitted_to=fitted_to,
        config=config,
        at_a_limit=at_a_limit(deployed.temperature),
        install=install_command(),
    )


def _standard_error(accuracy: float | None, count: int) -> float | None:
    """Of a share of `count` pictures: sqrt(p (1 - p) / n)."""
    return None if accuracy is None else sqrt(accuracy * (1 - accuracy) / count)


def _percent(share: float | None, digits: int = 1) -> str:
    return "not measured" if share is None else f"{100 * share:.{digits}f} %"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
