"""The embedded example sets: synthetic rocks, minerals or sections as a folder of pictures, object masks, an index."""

import csv
import json
import math
import os
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

from fpcn_lightning.data.synthetic import minerals, rocks, sections
from fpcn_lightning.data.synthetic.painting import VIEWS_PER_SPECIMEN
from fpcn_lightning.errors import UserError, check_choice

CLASSES = {"rocks": rocks.CLASSES, "minerals": minerals.CLASSES, "sections": sections.CLASSES}
# Raise one whenever the same parameters would give other pictures: folders made before are then refused, not mixed up.
GENERATOR_VERSIONS = {"rocks": 1, "minerals": 1, "sections": 1}
SMALLEST_SIZE = 32
INDEX, PARAMETERS = "index.csv", "synthetic.json"
COLUMNS = ("path", "label", "group", "split", "mask", "object_ratio", "background")


class _Parameters(NamedTuple):
    kind: str
    images_per_class: int
    size: int
    seed: int
    shortcut: bool
    validation: float
    test: float
    bits: int

    def record(self) -> dict[str, Any]:
        """What a set says of itself; one of rocks has said neither kind nor bits since before there were minerals."""
        record = {**self._asdict(), "generator": GENERATOR_VERSIONS[self.kind]}
        unsaid = ("kind", "bits") if self.kind == "rocks" else ("shortcut",)
        return {key: value for key, value in record.items() if key not in unsaid}


_Drawn = tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.bool_], str]  # picture, mask, background


def _drawn(label: str, number: int, side: str, parameters: _Parameters) -> _Drawn:
    """One picture of the set."""
    size, seed = parameters.size, parameters.seed
    if parameters.kind == "minerals":
        return minerals.draw(label, number, size=size, seed=seed, bits=parameters.bits)
    if parameters.kind == "sections":
        return sections.draw(label, number, size=size, seed=seed)
    return rocks.draw(label, number, size=size, seed=seed, backgrounds=_families(label, side, parameters.shortcut))


def _sides(images_per_class: int, validation: float, test: float) -> list[str]:
    """The side of each picture number of a class; views of one specimen lie on one side."""
    specimens = math.ceil(images_per_class / VIEWS_PER_SPECIMEN)
    # A hair less, so that 0.07 of 100, in floats above 7, stays 7.
    held = {side: math.ceil(share * specimens - 1e-9) for side, share in (("validation", validation), ("test", test))}
    if sum(held.values()) >= specimens:
        raise UserError(
            f"images_per_class={images_per_class} leaves no picture to train on beside validation={validation} "
            f"and test={test}: raise images_per_class or lower the shares."
        )
    sides = ["train"] * (specimens - sum(held.values())) + [side for side, count in held.items() for _ in range(count)]
    return [sides[number // VIEWS_PER_SPECIMEN] for number in range(images_per_class)]


def _families(label: str, side: str, shortcut: bool) -> Sequence[str]:
    if not shortcut:
        return rocks.BACKGROUNDS
    # Each class owns every third family; at test it stands on those of the next class.
    owner = rocks.CLASSES.index(label) + (side == "test")
    return rocks.BACKGROUNDS[owner % len(rocks.CLASSES) :: len(rocks.CLASSES)]


def _check(parameters: _Parameters) -> None:
    check_choice("data.synthetic.kind", parameters.kind, tuple(CLASSES))
    if parameters.kind != "rocks" and parameters.shortcut:
        raise UserError("shortcut=true is for rocks, whose backgrounds mislead; minerals lie in their gangue: drop it.")
    if parameters.bits not in (8, 16) or (parameters.kind != "minerals" and parameters.bits != 8):
        raise UserError(f"bits={parameters.bits}: minerals are drawn with 8 or 16 bits a channel, others with 8.")
    minima = {"images_per_class": 1, "size": SMALLEST_SIZE, "seed": 0}
    for key, least in minima.items():
        if getattr(parameters, key) < least:
            raise UserError(f"{key}={getattr(parameters, key)} is too small: give {least} or more.")
    for key in ("validation", "test"):
        if not 0 <= getattr(parameters, key) < 1:
            raise UserError(f"{key}={getattr(parameters, key)} is no share: give a number from 0 to below 1.")


def _is_made(root: Path, parameters: _Parameters) -> bool:
    """Whether `root` holds the finished set of `parameters`; raises UserError if it holds anything else."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        found = json.loads((root / PARAMETERS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{root} exists and is no synthetic set: choose another root or move it away.") from None
    asked = parameters.record()
    if found != asked or not (root / INDEX).is_file():
        raise UserError(
            f"{root} holds a synthetic set made otherwise ({found}; asked for {asked}): "
            "choose another root or delete that folder."
        )
    return True


def _save(folder: Path, label: str, number: int, side: str, parameters: _Parameters) -> dict[str, str]:
    """Draw one picture, write it and its mask under `folder`, and return its row of the index."""
    picture, mask, background = _drawn(label, number, side, parameters)
    suffix = "jpg" if parameters.bits == 8 else "tif"
    path, mask_path = f"images/{label}/{number:04d}.{suffix}", f"masks/{label}/{number:04d}.png"
    if parameters.bits == 8:
        Image.fromarray(picture).save(folder / path, quality=92)
    else:
        tifffile.imwrite(folder / path, picture, photometric="rgb", metadata=None)
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / mask_path)
    group = f"{label}-specimen-{number // VIEWS_PER_SPECIMEN + 1:04d}"
    row = (path, label, group, side, mask_path, f"{mask.mean():.6f}", background)
    return dict(zip(COLUMNS, row, strict=True))


def _fill(folder: Path, parameters: _Parameters, workers: int | None) -> None:
    sides = _sides(parameters.images_per_class, parameters.validation, parameters.test)
    classes = CLASSES[parameters.kind]
    for content, label in product(("images", "masks"), classes):
        (folder / content / label).mkdir(parents=True)
    jobs = [(label, number, side) for label in classes for number, side in enumerate(sides)]
    # Threads, not processes: a caller need not guard its main module, nor be safe to fork.
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
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
    """A name that tells sets of other parameters apart."""
    words = [] if kind == "rocks" else [kind]
    words += [f"{images_per_class}-a-class", f"{size}px", f"seed-{seed}"]
    words += ["shortcut"] * shortcut + [f"{bits}-bit"] * (bits != 8)
    return "-".join(words)


def make_synthetic(
    root: Path,
    *,
    kind: str = "rocks",
    images_per_class: int = 200,
    size: int = 224,
    seed: int = 0,
    shortcut: bool = False,
    validation: float = 0.2,
    test: float = 0.2,
    bits: int = 8,
    workers: int | None = None,
) -> Path:
    """Write the example set under `root`, or do nothing where the same set already lies there.

    Makes `images/<class>/<number>.jpg` (or .tif), `masks/<class>/<number>.png` (8 bit, 255 on the class),
    `synthetic.json` (the parameters) and `index.csv` with the columns path, label, group (the specimen), split (train,
    validation, test), mask, object_ratio (share of the picture that is of its class) and background (its family).
    Every picture is what `draw` of `data/rocks.py`, `minerals.py` or `sections.py` makes, whatever the number of
    workers. The folder is built beside `root` and renamed when it is complete, so two processes may start at once, and
    one that is killed leaves nothing under the final name.

    Args:
        root: the folder to make; its parents are made too.
        kind: rocks, minerals or sections.
        images_per_class: at least 1.
        size: side of the square pictures in pixels, at least 32.
        seed: not negative.
        shortcut: in train and validation each class stands on its own two families of background, at test on those of
            the next class; without it every picture draws its background from all families. Rocks only.
        validation: share of each class's specimens, 0 to below 1, rounded up.
        test: the same for the test side.
        bits: a channel; 16, of minerals only, makes TIFF files.
        workers: threads; None takes one a core. Changes nothing in the result.

    Returns:
        The path of `index.csv`.

    Raises:
        UserError: a parameter is out of range, or `root` holds something else than this very set.
    """
    parameters = _Parameters(kind, images_per_class, size, seed, shortcut, validation, test, bits)
    _check(parameters)
    if _is_made(root, parameters):
        return root / INDEX
    draft = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
    try:
        _fill(draft, parameters, workers)
        draft.rename(root)
    except OSError:
        # Another process may have finished the same set first.
        if not _is_made(root, parameters):
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return root / INDEX
