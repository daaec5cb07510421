"""The embedded example sets: synthetic rocks, minerals or sections as a folder of images, true masks and an index."""

import csv
import json
import math
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from fpcn_lightning.cores import usable_cores
from fpcn_lightning.data.synthetic import minerals, rocks, sections
from fpcn_lightning.data.synthetic.painting import VIEWS_PER_SPECIMEN
from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.runs.atomic_write import writing

CLASSES = {"rocks": rocks.CLASSES, "minerals": minerals.CLASSES, "sections": sections.CLASSES}
# Raise a version whenever the same parameters give other images: folders of earlier versions are then refused.
GENERATOR_VERSIONS = {"rocks": 1, "minerals": 1, "sections": 1}
MIN_SIZE = 32
INDEX, PARAMETERS = "index.csv", "synthetic.json"
COLUMNS = ("path", "label", "group", "split", "mask", "object_ratio", "background")


class _Parameters(NamedTuple):
    kind: str
    images_per_class: int
    size: int
    seed: int
    shortcut: bool
    val: float
    test: float
    bits: int

    def record(self) -> dict[str, Any]:
        """The content of `synthetic.json`, which must stay equal for the sets that earlier versions drew.

        Sets of rocks have neither kind nor bits, because they are older than the minerals.
        """
        record = {"validation" if key == "val" else key: value for key, value in self._asdict().items()}
        omitted = ("kind", "bits") if self.kind == "rocks" else ("shortcut",)
        parameters = {key: value for key, value in record.items() if key not in omitted}
        return {**parameters, "generator": GENERATOR_VERSIONS[self.kind]}


_Drawn = tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.bool_], str]  # image, mask, background


def _draw(label: str, number: int, split: str, parameters: _Parameters) -> _Drawn:
    """One image of the set."""
    size, seed = parameters.size, parameters.seed
    if parameters.kind == "minerals":
        return minerals.draw(label, number, size=size, seed=seed, bits=parameters.bits)
    if parameters.kind == "sections":
        return sections.draw(label, number, size=size, seed=seed)
    return rocks.draw(label, number, size=size, seed=seed, backgrounds=_families(label, split, parameters.shortcut))


def _splits(images_per_class: int, val: float, test: float) -> list[str]:
    """The split of each image number of a class; the views of one specimen are in one split."""
    specimens = math.ceil(images_per_class / VIEWS_PER_SPECIMEN)
    # Rounding errors are subtracted, so that 0.07 of 100, which is above 7 in floats, stays 7.
    counts = {split: math.ceil(share * specimens - 1e-9) for split, share in (("val", val), ("test", test))}
    if sum(counts.values()) >= specimens:
        raise UserError(
            f"images_per_class={images_per_class} leaves no pictures for training with val={val} and test={test}: "
            "raise images_per_class or lower the shares."
        )
    splits = ["train"] * (specimens - sum(counts.values()))
    splits += [split for split, count in counts.items() for _ in range(count)]
    return [splits[number // VIEWS_PER_SPECIMEN] for number in range(images_per_class)]


def _families(label: str, split: str, shortcut: bool) -> Sequence[str]:
    """The families of background that an image may have."""
    if not shortcut:
        return rocks.BACKGROUNDS
    # Each class has every third family; in the test split it has those of the next class.
    owner = rocks.CLASSES.index(label) + (split == "test")
    return rocks.BACKGROUNDS[owner % len(rocks.CLASSES) :: len(rocks.CLASSES)]


def _check(parameters: _Parameters) -> None:
    check_choice("data.synthetic.kind", parameters.kind, tuple(CLASSES))
    if parameters.kind != "rocks" and parameters.shortcut:
        raise UserError(
            f"shortcut=true is for rocks only, because their background can be chosen: set shortcut=false for "
            f"kind={parameters.kind}."
        )
    if parameters.bits not in (8, 16) or (parameters.kind != "minerals" and parameters.bits != 8):
        raise UserError(f"bits={parameters.bits}: minerals are drawn with 8 or 16 bits a channel, others with 8.")
    minima = {"images_per_class": 1, "size": MIN_SIZE, "seed": 0}
    for key, minimum in minima.items():
        if getattr(parameters, key) < minimum:
            raise UserError(f"{key}={getattr(parameters, key)} is too small: give {minimum} or more.")
    for key in ("val", "test"):
        if not 0 <= getattr(parameters, key) < 1:
            raise UserError(f"{key}={getattr(parameters, key)} is not a share: give a number from 0 to below 1.")


def _is_made(root: Path, parameters: _Parameters) -> bool:
    """Whether `root` holds the finished set of `parameters`; raises UserError if it holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / PARAMETERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{root} exists and is not a synthetic set: choose another root or move it away.") from None
    wanted = parameters.record()
    if found != wanted or not (root / INDEX).is_file():
        raise UserError(
            f"{root} holds a synthetic set of other parameters ({found} instead of {wanted}), or an incomplete one: "
            "choose another root or delete that folder."
        )
    return True


def _save(folder: Path, label: str, number: int, split: str, parameters: _Parameters) -> dict[str, str]:
    """Draw one image, write it and its mask under `folder`, and return its row of the index."""
    picture, mask, background = _draw(label, number, split, parameters)
    suffix = "jpg" if parameters.bits == 8 else "tif"
    path, mask_path = f"images/{label}/{number:04d}.{suffix}", f"masks/{label}/{number:04d}.png"
    if parameters.bits == 8:
        Image.fromarray(picture).save(folder / path, quality=92)
    else:
        tifffile.imwrite(folder / path, picture, photometric="rgb", metadata=None)
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / mask_path)
    group = f"{label}-specimen-{number // VIEWS_PER_SPECIMEN + 1:04d}"
    row = (path, label, group, split, mask_path, f"{mask.mean():.6f}", background)
    return dict(zip(COLUMNS, row, strict=True))


def _fill(folder: Path, parameters: _Parameters, workers: int | None) -> None:
    splits = _splits(parameters.images_per_class, parameters.val, parameters.test)
    classes = CLASSES[parameters.kind]
    for content, label in product(("images", "masks"), classes):
        (folder / content / label).mkdir(parents=True)
    jobs = [(label, number, split) for label in classes for number, split in enumerate(splits)]
    # Threads, not processes: the main module of the caller needs no guard, and the process need not be safe to fork.
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        saved = pool.map(lambda job: _save(folder, job[0], job[1], job[2], parameters), jobs)
        rows = list(tqdm(saved, total=len(jobs), desc=f"drawing {parameters.kind}", unit="picture", disable=None))
    with (folder / INDEX).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder / PARAMETERS).write_text(json.dumps(parameters.record(), indent=2) + "\n", encoding="utf-8")


def folder_name(
    *, images_per_class: int, size: int, seed: int, shortcut: bool = False, kind: str = "rocks", bits: int = 8
) -> str:
    """A name that differs between sets of different parameters."""
    parts = [] if kind == "rocks" else [kind]
    parts += [f"{images_per_class}-a-class", f"{size}px", f"seed-{seed}"]
    parts += ["shortcut"] * shortcut + [f"{bits}-bit"] * (bits != 8)
    return "-".join(parts)


def make_synthetic(
    root: Path,
    *,
    kind: str = "rocks",
    images_per_class: int = 200,
    size: int = 224,
    seed: int = 0,
    shortcut: bool = False,
    val: float = 0.2,
    test: float = 0.2,
    bits: int = 8,
    workers: int | None = None,
) -> Path:
    """Write the example set under `root`, or do nothing if the same set is there already.

    Writes `images/<class>/<number>.jpg` (or .tif), `masks/<class>/<number>.png` (8 bit, 255 on the class),
    `synthetic.json` (the parameters) and `index.csv` with the columns path, label, group (the specimen), split (train,
    val, test), mask, object_ratio (share of the image that is of its class) and background (its family). Every image is
    drawn by `draw` of the module of its kind; the number of workers does not change it. The folder is written under a
    temporary name and renamed when it is complete, so that two processes may start at the same time, and one that is
    killed leaves nothing under the final name.

    Args:
        root: the folder to create; its parents are created too.
        kind: rocks, minerals or sections.
        images_per_class: at least 1.
        size: height and width of the images in pixels, at least 32.
        seed: not negative.
        shortcut: in training and validation each class has its own two families of background, in test those of the
            next class; otherwise the background of every image is drawn from all families. Rocks only.
        val: share of each class's specimens in the validation split, 0 to below 1, rounded up.
        test: the same for the test split.
        bits: of each channel; 16, for minerals only, writes TIFF files.
        workers: threads; None takes one for each core.

    Returns:
        The path of `index.csv`.

    Raises:
        UserError: a parameter is out of range, or `root` holds something else than this set.
        WriteError: it cannot be written.
    """
    parameters = _Parameters(kind, images_per_class, size, seed, shortcut, val, test, bits)
    _check(parameters)
    if _is_made(root, parameters):
        return root / INDEX
    draft = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    try:
        with writing(root):
            _fill(draft, parameters, workers)
            draft.rename(root)
    except OSError:
        # Another process may have finished the same set first.
        if not _is_made(root, parameters):
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root / INDEX
