"""What `bundle.json` and `labels.json` say, put together from a checkpoint's record and what was measured."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fpcn_lightning.data.augment import Augmentation, Squashing
from fpcn_lightning.data.images import Shape
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.deploy.wrapper import Deployed
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import (
    LABELS_NAME,
    MANIFEST_NAME,
    SCHEMA,
    Manifest,
    ModelFile,
    SquashingViews,
    TilingViews,
)

FLOAT, INT8 = "model.onnx", "model.int8.onnx"
PHONE_FLOAT, PHONE_INT8 = "model.pte", "model.int8.pte"

MOST_UNEVEN = 0.02  # share by which photographs of one scale may be enlarged differently: less than anybody sees


def describe_views(augmentation: Augmentation) -> SquashingViews | TilingViews:
    """How pictures are prepared outside the graph.

    Raises:
        UserError: the field would prepare small pictures in another way.
    """
    side = augmentation.evaluation_side
    if isinstance(augmentation, Squashing):
        return SquashingViews(kind="squashing", resize=augmentation.resize, side=side)
    assert isinstance(augmentation, Tiling)
    if augmentation.crop > side:
        raise UserError(
            f"data.crop={augmentation.crop} is larger than data.evaluation_crop={side}: under data.tiles pictures are "
            "enlarged to the larger of the two, which a bundle cannot say. Train with data.evaluation_crop=null."
        )
    return TilingViews(kind="tiling", tile_scale=augmentation.tile_scale, max_tiles=augmentation.max_tiles, side=side)


def scale_of_views(
    augmentation: Augmentation, shapes: Iterable[Shape], micrometres_per_pixel: float | None
) -> float | None:
    """Micrometres per pixel of the views, where the photographs have this scale at their own shapes; None knows none.

    Raises:
        UserError: preparation enlarges some photographs more than others, so that there is no one scale.
    """
    if micrometres_per_pixel is None:
        return None
    factors = [
        prepared / own for shape in set(shapes) for prepared, own in zip(augmentation.shape(*shape), shape, strict=True)
    ]
    if max(factors) > min(factors) * (1 + MOST_UNEVEN):
        raise UserError(
            f"export.micrometres_per_pixel={micrometres_per_pixel:g}: the photographs were brought to one size with "
            f"factors from {min(factors):.3g} to {max(factors):.3g}, so that the network knows no one scale. Train "
            "with data.tiles=true, or leave the key out."
        )
    return micrometres_per_pixel / (sum(factors) / len(factors))


def describe_file(path: Path) -> ModelFile:
    """A model file of which nothing is measured so far."""
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


def describe_lineage(record: Mapping[str, Any], checkpoint: Path) -> dict[str, object]:
    """Where a bundle comes from, without the folders of this machine."""
    root, teacher = record["data"]["root"], record.get("teacher")
    return {
        **_origin(record, checkpoint, hashlib.sha256(checkpoint.read_bytes()).hexdigest()),
        "pretrained": bool(record["model"].get("pretrained")),
        "photographs": "synthetic" if root is None else Path(root).name,
        "teacher": teacher and _origin(teacher, Path(teacher.get("checkpoint", "")), teacher.get("sha256")),
    }


def _origin(record: Mapping[str, Any], checkpoint: Path, sha256: str | None) -> dict[str, object]:
    model = record.get("model", {})
    return {
        "checkpoint": checkpoint.name,
        "sha256": sha256,
        **{key: record.get(key) for key in ("name", "variant", "seed", "split")},
        "network": str(model.get("_target_")).rpartition(".")[2],
        "backbone": model.get("backbone"),
    }


def write_manifest(
    folder: Path,
    deployed: Deployed,
    augmentation: Augmentation,
    files: dict[str, ModelFile],
    *,
    activation_map: bool,
    coverage: float,
    lineage: dict[str, object],
    micrometres_per_pixel: float | None,
) -> None:
    """Write `bundle.json`."""
    manifest = Manifest(
        schema=SCHEMA,
        name=f"{lineage['name']}-{lineage['variant']}",
        views=describe_views(augmentation),
        files=files,
        default=FLOAT,
        activation_map=activation_map,
        temperature=deployed.temperature,
        score=deployed.score,
        coverage=coverage,
        lineage=lineage,
        micrometres_per_pixel=micrometres_per_pixel,
        labels_sha256=hashlib.sha256((folder / LABELS_NAME).read_bytes()).hexdigest(),
    )
    _write(folder / MANIFEST_NAME, manifest)


def write_labels(folder: Path, classes: Sequence[str]) -> None:
    """Write `labels.json`."""
    _write(folder / LABELS_NAME, {"classes": list(classes)})


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
