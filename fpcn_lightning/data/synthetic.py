"""The embedded example set: synthetic rocks as a folder of pictures, object masks and an index."""

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
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from fpcn_lightning.data.rocks import BACKGROUNDS, CLASSES, VIEWS_PER_SPECIMEN, draw
from fpcn_lightning.errors import UserError

__all__ = ["BACKGROUNDS", "CLASSES", "draw", "make_synthetic"]

# Raise it whenever the same parameters would give other pictures: folders made before are then refused, not mixed up.
GENERATOR_VERSION = 1
SMALLEST_SIZE = 32
INDEX, PARAMETERS = "index.csv", "synthetic.json"
COLUMNS = ("path", "label", "group", "split", "mask", "object_ratio", "background")


class _Parameters(NamedTuple):
    images_per_class: int
    size: int
    seed: int
    shortcut: bool
    validation: float
    test: float
    generator: int = GENERATOR_VERSION


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
        return BACKGROUNDS
    # Each class owns every third family; at test it stands on those of the next class.
    owner = CLASSES.index(label) + (side == "test")
    return BACKGROUNDS[owner % len(CLASSES) :: len(CLASSES)]


def _check(parameters: _Parameters) -> None:
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
    asked = parameters._asdict()
    if found != asked or not (root / INDEX).is_file():
        raise UserError(
            f"{root} holds a synthetic set made otherwise ({found}; asked for {asked}): "
            "choose another root or delete that folder."
        )
    return True


def _save(folder: Path, label: str, number: int, side: str, parameters: _Parameters) -> dict[str, str]:
    """Draw one picture, write it and its mask under `folder`, and return its row of the index."""
    families = _families(label, side, parameters.shortcut)
    picture, mask, family = draw(label, number, size=parameters.size, seed=parameters.seed, backgrounds=families)
    path, mask_path = f"images/{label}/{number:04d}.jpg", f"masks/{label}/{number:04d}.png"
    Image.fromarray(picture).save(folder / path, quality=92)
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / mask_path)
    group = f"{label}-specimen-{number // VIEWS_PER_SPECIMEN + 1:04d}"
    row = (path, label, group, side, mask_path, f"{mask.mean():.6f}", family)
    return dict(zip(COLUMNS, row, strict=True))


def _fill(folder: Path, parameters: _Parameters, workers: int | None) -> None:
    sides = _sides(parameters.images_per_class, parameters.validation, parameters.test)
    for kind, label in product(("images", "masks"), CLASSES):
        (folder / kind / label).mkdir(parents=True)
    jobs = [(label, number, side) for label in CLASSES for number, side in enumerate(sides)]
    # Threads, not processes: a caller need not guard its main module, nor be safe to fork.
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        saved = pool.map(lambda job: _save(folder, job[0], job[1], job[2], parameters), jobs)
        rows = list(tqdm(saved, total=len(jobs), desc="drawing rocks", unit="picture", disable=None))
    with (folder / INDEX).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    (folder / PARAMETERS).write_text(json.dumps(parameters._asdict(), indent=2) + "\n", encoding="utf-8")


def make_synthetic(
    root: Path,
    *,
    images_per_class: int = 200,
    size: int = 224,
    seed: int = 0,
    shortcut: bool = False,
    validation: float = 0.2,
    test: float = 0.2,
    workers: int | None = None,
) -> Path:
    """Write the example set under `root`, or do nothing where the same set already lies there.

    Makes `images/<class>/<number>.jpg`, `masks/<class>/<number>.png` (8 bit, 255 on the rock), `synthetic.json` (the
    parameters) and `index.csv` with the columns path, label, group (the specimen), split (train, validation, test),
    mask, object_ratio (share of the picture that is rock, 0.1 to 0.9) and background (its family). Every picture is
    `draw`'s, whatever the number of workers. The folder is built beside `root` and renamed when it is complete, so two
    processes may start at once, and one that is killed leaves nothing under the final name.

    Args:
        root: the folder to make; its parents are made too.
        images_per_class: at least 1.
        size: side of the square pictures in pixels, at least 32.
        seed: not negative.
        shortcut: in train and validation each class stands on its own two families of background, at test on those of
            the next class; without it every picture draws its background from all families.
        validation: share of each class's specimens, 0 to below 1, rounded up.
        test: the same for the test side.
        workers: threads; None takes one a core. Changes nothing in the result.

    Returns:
        The path of `index.csv`.

    Raises:
        UserError: a parameter is out of range, or `root` holds something else than this very set.
    """
    parameters = _Parameters(images_per_class, size, seed, shortcut, validation, test)
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
