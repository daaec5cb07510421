"""Makes `bundle.json` and `labels.json` from a checkpoint's record and the measurements of the files."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fpcn_lightning.data.augment import Augmentation, Squashing
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.images import Shape
from fpcn_lightning.data.squares import Cropping, Letterboxing
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.deploy.wrapper import SCORE, DeployedNetwork
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import (
    LABELS_NAME,
    MANIFEST_NAME,
    SCHEMA,
    CroppingViews,
    LetterboxingViews,
    Manifest,
    ModelFile,
    PhotographCounts,
    SquashingViews,
    TilingViews,
    ViewsEntry,
)
from fpcn_lightning.field.usability import Usability
from fpcn_lightning.modules.checkpoints import CheckpointRecord

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
PHONE_FLOAT, PHONE_INT8 = "model.pte", "model.int8.pte"

MAX_SCALE_DIFFERENCE = 0.02  # share by which photographs of one scale may be enlarged differently: not visible


@dataclass(frozen=True)
class CheckpointOrigin:
    """Where a network comes from; None where the record does not say."""

    checkpoint: str  # file name
    sha256: str | None
    name: str | None
    variant: str | None
    seed: int | None
    split: str | None  # fingerprint
    network: str  # class name
    backbone: str | None

    @classmethod
    def of(cls, record: Mapping[str, Any], checkpoint: Path, sha256: str | None) -> "CheckpointOrigin":
        """The origin of a network from the record of its checkpoint as plain data."""
        model = record.get("model", {})
        return cls(
            checkpoint=checkpoint.name,
            sha256=sha256,
            name=record.get("name"),
            variant=record.get("variant"),
            seed=record.get("seed"),
            split=record.get("split"),
            network=str(model.get("_target_")).rpartition(".")[2],
            backbone=model.get("backbone"),
        )


@dataclass(frozen=True)
class BundleLineage(CheckpointOrigin):
    """Where a bundle comes from, without paths of this machine."""

    pretrained: bool
    photographs: str  # name of their folder, or synthetic
    teacher: CheckpointOrigin | None


def describe_lineage(record: CheckpointRecord, checkpoint: Path) -> BundleLineage:
    """The lineage of a bundle from the record of its checkpoint."""
    root, teacher = record.data.root, record.teacher
    origin = CheckpointOrigin.of(record.plain(), checkpoint, hashlib.sha256(checkpoint.read_bytes()).hexdigest())
    return BundleLineage(
        **asdict(origin),
        pretrained=bool(record.model.get("pretrained")),
        photographs="synthetic" if root is None else Path(root).name,
        teacher=CheckpointOrigin.of(teacher, Path(teacher.get("checkpoint", "")), teacher.get("sha256"))
        if teacher
        else None,
    )


def describe_views(augmentation: Augmentation) -> ViewsEntry:
    """How pictures are prepared outside the graph.

    Raises:
        UserError: `fpcn` would prepare small pictures in another way.
    """
    side, mirrored = augmentation.evaluation_size, augmentation.mirrored_views
    if isinstance(augmentation, Squashing):
        return SquashingViews(kind="squashing", resize=augmentation.resize, side=side, mirrored=mirrored)
    if isinstance(augmentation, Cropping):
        return CroppingViews(kind="cropping", resize=augmentation.resize, side=side, mirrored=mirrored)
    if isinstance(augmentation, Letterboxing):
        return LetterboxingViews(
            kind="letterboxing", resize=augmentation.resize, side=side, fill=list(augmentation.fill), mirrored=mirrored
        )
    assert isinstance(augmentation, Tiling)
    if augmentation.crop > side:
        raise UserError(
            f"data.crop={augmentation.crop} is larger than data.evaluation_crop={side}: under data.tiles pictures are "
            "enlarged to the larger of the two, which a bundle cannot describe. Train with data.evaluation_crop=null."
        )
    return TilingViews(
        kind="tiling",
        tile_scale=augmentation.tile_scale,
        most_tiles=augmentation.max_tiles,
        side=side,
        mirrored=mirrored,
    )


def scale_of_views(
    augmentation: Augmentation, shapes: Iterable[Shape], micrometres_per_pixel: float | None
) -> float | None:
    """Micrometres per pixel of the views.

    Args:
        augmentation: how pictures are prepared.
        shapes: of the photographs.
        micrometres_per_pixel: of the photographs; None if unknown, which is then also returned.

    Raises:
        UserError: some photographs are enlarged more than others, so that the views have different scales.
    """
    if micrometres_per_pixel is None:
        return None
    factors = [
        prepared / (own * share)
        for shape in set(shapes)
        for prepared, own, share in zip(augmentation.shape(*shape), shape, augmentation.area(*shape)[2:], strict=True)
    ]
    if max(factors) > min(factors) * (1 + MAX_SCALE_DIFFERENCE):
        raise UserError(
            f"export.micrometres_per_pixel={micrometres_per_pixel:g}: the photographs were resized with factors from "
            f"{min(factors):.3g} to {max(factors):.3g}, so there is no one scale for all views. Train with "
            "data.tiles=true, or remove the key."
        )
    return micrometres_per_pixel / (sum(factors) / len(factors))


def count_photographs(data: RockDataModule) -> PhotographCounts:
    """The numbers of photographs of each class in each part of the split."""

    def counts(positions: Sequence[int]) -> list[int]:
        found = Counter(data.pictures.pictures[position].label for position in positions)
        return [found[label] for label in range(len(data.classes))]

    return PhotographCounts(train=counts(data.split.train), val=counts(data.split.val), test=counts(data.split.test))


def describe_file(path: Path) -> ModelFile:
    """A model file before it is measured."""
    data = path.read_bytes()
    return ModelFile(
        runtime="executorch" if path.suffix == ".pte" else "onnxruntime",
        precision="int8" if ".int8." in path.name else "fp32",
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        accuracy=None,
        agreement=None,
        threshold=0.0,
        quantiles={},
    )


def write_manifest(
    folder: Path,
    deployed: DeployedNetwork,
    augmentation: Augmentation,
    files: dict[str, ModelFile],
    *,
    outputs: Sequence[str],
    photographs: PhotographCounts,
    coverage: float,
    lineage: BundleLineage,
    micrometres_per_pixel: float | None,
    usability: Usability,
) -> None:
    """Write `bundle.json` for files that return these `outputs`."""
    manifest = Manifest(
        schema=SCHEMA,
        name=f"{lineage.name}-{lineage.variant}",
        views=describe_views(augmentation),
        files=files,
        default=FLOAT,
        activation_map="activation_map" in outputs,
        object_mask="object_mask" in outputs,
        photographs=photographs,
        temperature=deployed.temperature,
        score=SCORE,
        coverage=coverage,
        lineage=asdict(lineage),
        micrometres_per_pixel=micrometres_per_pixel,
        not_usable=list(usability.reasons),
        labels_sha256=hashlib.sha256((folder / LABELS_NAME).read_bytes()).hexdigest(),
    )
    if usability.notice:
        manifest["notice"] = usability.notice
    _write_json(folder / MANIFEST_NAME, manifest)


def write_labels(folder: Path, classes: Sequence[str]) -> None:
    """Write `labels.json`."""
    _write_json(folder / LABELS_NAME, {"classes": list(classes)})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
