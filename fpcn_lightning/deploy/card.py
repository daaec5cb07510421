"""The card of a bundle: what people must know before they trust it."""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.deploy.calibration import at_a_limit
from fpcn_lightning.deploy.wrapper import Deployed
from fpcn_lightning.field.manifest import ModelFile

Calibrated = dict[str, tuple[float, float]]
"""By side of the split: the expected calibration error of PyTorch before and after the temperature, 0..1."""

Unknown = dict[str, tuple[float, float | None]]
"""By file: the shares of validation and test pictures that it calls unknown, 0..1."""


def card(
    data: RockDataModule,
    deployed: Deployed,
    files: Mapping[str, ModelFile],
    lineage: Mapping[str, Any],
    calibrated: Calibrated,
    unknown: Unknown,
    *,
    activation_map: bool,
    pictures: int,
    options: Mapping[str, Any],
) -> str:
    """The text of `card.md`.

    Args:
        data: what it was trained and measured with.
        deployed: the network, calibrated.
        files: what was measured of each.
        lineage: where it comes from.
        calibrated: calibration errors.
        unknown: shares of unknown pictures.
        activation_map: whether the files give one.
        pictures: how many the ranges of int8 were measured on.
        options: the section `export` of the config.
    """
    environment = Environment(
        loader=PackageLoader("fpcn_lightning.deploy", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": _percent, "megabytes": _megabytes}
    sides = {"train": len(data.split.train), "validation": len(data.split.val), "test": len(data.split.test)}
    return environment.get_template("card.md.jinja").render(
        classes=data.classes,
        sides=sides,
        views=data.augmentation,
        deployed=deployed,
        files=files,
        errors={name: _standard_error(entry["accuracy"], sides["test"]) for name, entry in files.items()},
        lineage=lineage,
        calibrated=calibrated,
        unknown=unknown,
        activation_map=activation_map,
        pictures=pictures,
        options=options,
        at_a_limit=at_a_limit(deployed.temperature),
    )


def _standard_error(accuracy: float | None, count: int) -> float | None:
    """Of a share of `count` pictures: sqrt(p (1 - p) / n)."""
    return None if accuracy is None else sqrt(accuracy * (1 - accuracy) / count)


def _percent(share: float | None, digits: int = 1) -> str:
    return "not measured" if share is None else f"{100 * share:.{digits}f} %"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
