"""A bundle as the field reads it. It may come from a stranger: everything is data, checked before it is used."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.data.augment import Augmentation, Squashing
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError, closest
from fpcn_lightning.field.checked import FORMULA_SIGNS, WAY_OUT, Section, plain, read_limited
from fpcn_lightning.field.manifest import CARD_NAME, LABELS_NAME, MANIFEST_NAME, SCHEMA, ModelFile

MOST_TEXT_BYTES = 4_000_000  # of a manifest, of the labels and of the card
MOST_MODEL_BYTES = 2**31 - 1  # the most that one ONNX file can have
MOST_CLASSES = 10_000
LONGEST_SIDE = 4096
LARGEST_RESIZE = 8192
MOST_TILES = 1024
LARGEST_TILE_SCALE = 16

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")  # no folder, no drive, nothing hidden
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of itself; see `fpcn_lightning.field.manifest` for what each part means.

    Attributes:
        folder: where it lies.
        digest: SHA-256 of the manifest and the labels, hexadecimal; it stands for the whole bundle, since the manifest
            holds the hash of every model file.
        classes: names in the order of the probabilities.
        views: how pictures are resized and cut.
        micrometres_per_pixel: of the views, as the network sees them; None where the bundle does not say.
        files: model files by name.
        default: the ONNX file that is used unless told otherwise.
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
    score: str
    coverage: float
    temperature: float
    lineage: dict[str, object]

    def chosen(self, file: str | None) -> str:
        """The name of an ONNX file of the bundle: `file`, or the default where that is None.

        Raises:
            UserError: there is no such file, or onnxruntime does not run it.
        """
        name = self.default if file is None else file
        runnable = [known for known, entry in self.files.items() if entry["runtime"] == "onnxruntime"]
        if name not in runnable:
            raise UserError(
                f"{self.folder} lists no ONNX file {plain(name)}{closest(name, runnable)}: "
                f"it has {', '.join(runnable) or 'none'}."
            )
        return name

    def model_bytes(self, name: str) -> bytes:
        """What a model file of the bundle holds.

        Raises:
            UserError: the file is missing, or is not the one that the manifest means.
        """
        entry = self.files[name]
        path = self.folder / name
        data = read_limited(path, entry["bytes"])
        if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise UserError(f"{path} is not the file that {MANIFEST_NAME} describes (damaged or changed): {WAY_OUT}.")
        return data

    def card(self) -> str:
        """The model card, without anything that does not print.

        Raises:
            UserError: there is none.
        """
        text = read_limited(self.folder / CARD_NAME, MOST_TEXT_BYTES).decode("utf-8", "replace")
        return "\n".join(plain(line) for line in text.splitlines())


def read_bundle(folder: Path) -> Bundle:
    """Read and check all of a bundle but its model files, which are checked when they are opened.

    Raises:
        UserError: the folder is missing or no bundle, or anything in it is not as the contract says.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the folder of a bundle, which holds {MANIFEST_NAME}.")
    path = folder / MANIFEST_NAME
    if not path.exists():
        raise UserError(
            f"{folder} is no bundle, as it holds no {MANIFEST_NAME}: name the folder that task=export wrote."
        )
    data = read_limited(path, MOST_TEXT_BYTES)
    manifest = Section.parsed(data, path)
    if (schema := manifest.whole("schema", 0, 10**6)) != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads {SCHEMA}: install the version that wrote it.")
    labels = read_limited(folder / LABELS_NAME, MOST_TEXT_BYTES)
    bundle = Bundle(
        folder=folder,
        digest=hashlib.sha256(data + labels).hexdigest(),
        name=manifest.text("name"),
        classes=_classes(labels, folder / LABELS_NAME),
        views=_views(manifest.section("views")),
        micrometres_per_pixel=_scale(manifest),
        files=_files(manifest.section("files"), path),
        default=manifest.text("default"),
        activation_map=manifest.flag("activation_map"),
        score=manifest.text("score"),
        coverage=manifest.number("coverage", 0, 1),
        temperature=manifest.number("temperature", 1e-6, 1e6),
        lineage=manifest.section("lineage").content,
    )
    bundle.chosen(None)
    if hashlib.sha256(labels).hexdigest() != manifest.text("labels_sha256"):
        raise UserError(f"{folder / LABELS_NAME} is not the one that {MANIFEST_NAME} was written with: {WAY_OUT}.")
    return bundle


def _classes(labels: bytes, path: Path) -> tuple[str, ...]:
    classes = Section.parsed(labels, path).texts("classes", 2, MOST_CLASSES)
    for name in classes:
        if name.startswith(FORMULA_SIGNS):  # the results are opened with spreadsheets
            raise UserError(f"{path} has a class {name}, which spreadsheets take for a formula: {WAY_OUT}.")
    return classes


def _views(section: Section) -> Augmentation:
    side = section.whole("side", 1, LONGEST_SIDE)
    if section.choice("kind", "squashing", "tiling") == "squashing":
        return Squashing(crop=side, resize=section.whole("resize", side, LARGEST_RESIZE))
    return Tiling(
        crop=side,
        tile_scale=section.number("tile_scale", 1e-3, LARGEST_TILE_SCALE),
        max_tiles=section.whole("max_tiles", 1, MOST_TILES),
    )


def _scale(manifest: Section) -> float | None:
    key = "micrometres_per_pixel"
    return None if manifest.content.get(key) is None else manifest.number(key, 1e-6, 1e6)


def _files(section: Section, path: Path) -> dict[str, ModelFile]:
    for name in section:
        if not _FILE_NAME.fullmatch(name):
            raise UserError(f"{path} lists the file {name[:100]!r}, which is no plain file name: {WAY_OUT}.")
    return {name: _model_file(section.section(name)) for name in section}


def _model_file(section: Section) -> ModelFile:
    quantiles = section.section("quantiles")
    for coverage in quantiles:
        if not re.fullmatch(r"0\.\d{1,6}", coverage):
            quantiles.refuse(coverage, coverage, "a coverage such as 0.9")
    sha256 = section.text("sha256")
    if not _SHA256.fullmatch(sha256):
        section.refuse("sha256", sha256, "64 hexadecimal digits")
    return ModelFile(
        runtime=section.choice("runtime", "onnxruntime", "executorch"),
        precision=section.choice("precision", "fp32", "int8"),
        bytes=section.whole("bytes", 1, MOST_MODEL_BYTES),
        sha256=sha256,
        accuracy=section.share("accuracy"),
        agreement=section.share("agreement"),
        threshold=section.number("threshold"),
        quantiles={coverage: quantiles.number(coverage, 0, 1) for coverage in quantiles},
    )
