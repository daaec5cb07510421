"""Reads a bundle. It may come from an unknown source: nothing in it is executed, and everything is checked first."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fpcn_lightning.data.augment import Augmentation, Squashing
from fpcn_lightning.data.images import Fill
from fpcn_lightning.data.names import MAX_CLASSES, class_problem
from fpcn_lightning.data.squares import Cropping, Letterboxing
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError, closest
from fpcn_lightning.field.demo import resolved
from fpcn_lightning.field.manifest import (
    CARD_NAME,
    LABELS_NAME,
    MANIFEST_NAME,
    SCHEMA,
    ModelFile,
    PhotographCounts,
)
from fpcn_lightning.field.untrusted import WAY_OUT, CheckedMapping, printable, read_limited
from fpcn_lightning.field.usability import MAX_REASONS, Usability

MAX_TEXT_BYTES = 4_000_000  # of the manifest, of the labels and of the model card
MAX_MODEL_BYTES = 2**31 - 1  # the limit of one ONNX file
MAX_SIDE = 4096
MAX_RESIZE = 8192
MAX_TILES = 1024
MAX_TILE_SCALE = 16
MAX_PHOTOGRAPHS = 10**9  # of one class

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")  # no folder, no drive, no hidden file
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Bundle:
    """The contents of a bundle; see `fpcn_lightning.field.manifest` for the meaning of each part.

    Attributes:
        folder: of the bundle.
        digest: SHA-256 of the manifest and the labels, hexadecimal; it identifies the whole bundle, since the manifest
            has the hash of every model file.
        classes: names in the order of the probabilities.
        views: how pictures are resized and cropped.
        micrometres_per_pixel: of the views, the network's input; None if unknown.
        files: model files by name.
        default: the ONNX file that is used by default.
        photographs: numbers of photographs that it was made from; None in bundles that do not state them.
        usability: whether the model may be used, as the export has judged it; usable in bundles without a verdict.
    """

    folder: Path
    digest: str
    name: str
    classes: tuple[str, ...]
    views: Augmentation
    micrometres_per_pixel: float | None
    files: dict[str, ModelFile]
    default: str
    activation_map: bool
    object_mask: bool
    photographs: PhotographCounts | None
    score: str
    coverage: float
    temperature: float
    lineage: dict[str, object]
    usability: Usability

    def chosen(self, file: str | None) -> str:
        """The name of an ONNX file of the bundle: `file`, or the default if that is None.

        Raises:
            UserError: there is no such file, or onnxruntime does not run it.
        """
        name = self.default if file is None else file
        runnable = [known for known, entry in self.files.items() if entry["runtime"] == "onnxruntime"]
        if name not in runnable:
            raise UserError(
                f"{self.folder} lists no ONNX file {printable(name)}{closest(name, runnable)}: "
                f"it has {', '.join(runnable) or 'none'}."
            )
        return name

    def model_bytes(self, name: str) -> bytes:
        """The content of a model file.

        Raises:
            UserError: the file is missing, or is not the one that the manifest describes.
        """
        entry = self.files[name]
        path = self.folder / name
        data = read_limited(path, entry["bytes"])
        if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise UserError(f"{path} is not the file that {MANIFEST_NAME} describes (damaged or changed): {WAY_OUT}.")
        return data

    def card(self) -> str:
        """The model card, without non-printable characters.

        Raises:
            UserError: there is none.
        """
        text = read_limited(self.folder / CARD_NAME, MAX_TEXT_BYTES).decode("utf-8", "replace")
        return "\n".join(printable(line) for line in text.splitlines())


def read_bundle(folder: Path) -> Bundle:
    """Read and check all of a bundle except its model files, which are checked when they are opened.

    `demo` is the one that is installed with the command (`fpcn_lightning.field.demo`).

    Raises:
        UserError: the folder is missing or no bundle, or anything in it breaks the contract.
    """
    folder = resolved(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: pass the folder of a bundle, which contains {MANIFEST_NAME}.")
    path = folder / MANIFEST_NAME
    if not path.exists():
        raise UserError(
            f"{folder} is no bundle, since it has no {MANIFEST_NAME}: pass the folder that task=export wrote."
        )
    data = read_limited(path, MAX_TEXT_BYTES)
    manifest = CheckedMapping.parsed(data, path)
    if (schema := manifest.integer("schema", 0, 10**6)) != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads {SCHEMA}: install the version that wrote it.")
    labels = read_limited(folder / LABELS_NAME, MAX_TEXT_BYTES)
    classes = _classes(labels, folder / LABELS_NAME)
    bundle = Bundle(
        folder=folder,
        digest=hashlib.sha256(data + labels).hexdigest(),
        name=manifest.text("name"),
        classes=classes,
        views=_views(manifest.mapping("views")),
        micrometres_per_pixel=_scale(manifest),
        files=_files(manifest.mapping("files"), path, len(classes)),
        default=manifest.text("default"),
        activation_map=manifest.boolean("activation_map"),
        object_mask="object_mask" in manifest and manifest.boolean("object_mask"),
        photographs=_photographs(manifest, len(classes)),
        score=manifest.text("score"),
        coverage=manifest.number("coverage", 0, 1),
        temperature=manifest.number("temperature", 1e-6, 1e6),
        lineage=manifest.mapping("lineage").content,
        usability=_usability(manifest),
    )
    bundle.chosen(None)
    if hashlib.sha256(labels).hexdigest() != manifest.text("labels_sha256"):
        raise UserError(f"{folder / LABELS_NAME} is not the file that belongs to {MANIFEST_NAME}: {WAY_OUT}.")
    return bundle


def _classes(labels: bytes, path: Path) -> tuple[str, ...]:
    classes = CheckedMapping.parsed(labels, path).texts("classes", 2, MAX_CLASSES)
    for name in classes:
        if (problem := class_problem(name)) is not None:
            raise UserError(f"{path} has a class {name}, which {problem}: {WAY_OUT}.")
    return classes


def _views(views: CheckedMapping) -> Augmentation:
    side, mirrored = views.integer("side", 1, MAX_SIDE), "mirrored" in views and views.boolean("mirrored")
    kind = views.choice("kind", "squashing", "cropping", "letterboxing", "tiling")
    if kind == "tiling":
        return Tiling(
            crop=side,
            tile_scale=views.number("tile_scale", 1e-3, MAX_TILE_SCALE),
            max_tiles=views.integer("most_tiles", 1, MAX_TILES),
            mirrored_views=mirrored,
        )
    resize = views.integer("resize", side, MAX_RESIZE)
    if kind == "letterboxing":
        fill = cast(Fill, tuple(views.integers("fill", 3, 0, 255)))
        return Letterboxing(crop=side, resize=resize, fill=fill, mirrored_views=mirrored)
    return (Cropping if kind == "cropping" else Squashing)(crop=side, resize=resize, mirrored_views=mirrored)


def _scale(manifest: CheckedMapping) -> float | None:
    key = "micrometres_per_pixel"
    return None if manifest.content.get(key) is None else manifest.number(key, 1e-6, 1e6)


def _photographs(manifest: CheckedMapping, classes: int) -> PhotographCounts | None:
    if "photographs" not in manifest:
        return None
    counts = manifest.mapping("photographs")
    train, val, test = (counts.integers(split, classes, 0, MAX_PHOTOGRAPHS) for split in ("train", "val", "test"))
    return PhotographCounts(train=train, val=val, test=test)


def _usability(manifest: CheckedMapping) -> Usability:
    return Usability(
        reasons=manifest.texts("not_usable", 0, MAX_REASONS) if "not_usable" in manifest else (),
        notice=manifest.text("notice") if "notice" in manifest else "",
    )


def _files(files: CheckedMapping, path: Path, classes: int) -> dict[str, ModelFile]:
    for name in files:
        if not _FILE_NAME.fullmatch(name):
            raise UserError(f"{path} lists the file {name[:100]!r}, which is no plain file name: {WAY_OUT}.")
    return {name: _model_file(files.mapping(name), classes) for name in files}


def _model_file(entry: CheckedMapping, classes: int) -> ModelFile:
    quantiles = entry.mapping("quantiles")
    for coverage in quantiles:
        if not re.fullmatch(r"0\.\d{1,6}", coverage):
            quantiles.reject(coverage, coverage, "a coverage such as 0.9")
    sha256 = entry.text("sha256")
    if not _SHA256.fullmatch(sha256):
        entry.reject("sha256", sha256, "64 hexadecimal digits")
    return ModelFile(
        runtime=entry.choice("runtime", "onnxruntime", "executorch"),
        precision=entry.choice("precision", "fp32", "int8"),
        bytes=entry.integer("bytes", 1, MAX_MODEL_BYTES),
        sha256=sha256,
        accuracy=entry.share("accuracy"),
        agreement=entry.share("agreement"),
        threshold=entry.number("threshold"),
        quantiles={coverage: quantiles.number(coverage, 0, 1) for coverage in quantiles},
        window_confusion=entry.counts("window_confusion", classes),
    )
