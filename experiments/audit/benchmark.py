"""Plants changed copies into a set of photographs, audits it, and counts which of them are found.

    python experiments/audit/benchmark.py [--pairs 200] [--distractors 600] [--folder PHOTOGRAPHS]

Without a folder (the option, or the variable FPCN_PHOTOGRAPHS) the photographs are synthetic rocks. Each kind of change
is made to `--pairs` photographs. A copy is found if it is in the proposed group of its original: one photograph has
several copies here, and the audit compares each image with a few neighbours only. A pair is wrong if it joins a copy
with another photograph than its own, or than one that the audit itself joins with it among the unchanged photographs.
Those pairs, and the pairs of unchanged photographs, are printed, to be checked by hand.
"""

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, UnidentifiedImageError

from fpcn_lightning.audit.copies import components
from fpcn_lightning.audit.descriptors import PROBE
from fpcn_lightning.audit.inspection import audit
from fpcn_lightning.config import CacheConfig, DataConfig
from fpcn_lightning.data.images import SUFFIXES
from fpcn_lightning.data.synthetic.dataset import make_synthetic
from fpcn_lightning.models.probe import Probe

RANDOM = np.random.default_rng(0)
QUARTERS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
Change = Callable[[Image.Image], Image.Image]


def same(image: Image.Image) -> Image.Image:
    """As it is."""
    return image


def resized(image: Image.Image) -> Image.Image:
    """To 35 to 80 % of both sides."""
    factor = RANDOM.uniform(0.35, 0.8)
    size = [max(16, round(side * factor)) for side in image.size]
    return image.resize((size[0], size[1]), Image.Resampling.BICUBIC)


def mirrored(image: Image.Image) -> Image.Image:
    """Left and right exchanged."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def turned(image: Image.Image) -> Image.Image:
    """By 90, 180 or 270 degrees."""
    return image.transpose(QUARTERS[RANDOM.integers(3)])


def cropped(image: Image.Image) -> Image.Image:
    """To 60 to 100 % of the width and, drawn independently, of the height."""
    width, height = (round(side * RANDOM.uniform(0.6, 1)) for side in image.size)
    left, top = RANDOM.integers(image.width - width + 1), RANDOM.integers(image.height - height + 1)
    return image.crop((left, top, left + width, top + height))


def brightened(image: Image.Image) -> Image.Image:
    """By a factor of 0.5 to 0.8 or 1.2 to 1.5."""
    low, high = ((0.5, 0.8), (1.2, 1.5))[RANDOM.integers(2)]
    return ImageEnhance.Brightness(image).enhance(RANDOM.uniform(low, high))


def combined(image: Image.Image) -> Image.Image:
    """A crop, mirrored and turned each time with a probability of one half, resized and brightened."""
    image = cropped(image)
    for change in (mirrored, turned):
        if RANDOM.random() < 0.5:
            image = change(image)
    return brightened(resized(image))


# The change, and the qualities of the JPEG that it is stored as.
KINDS: dict[str, tuple[Change, tuple[int, int]]] = {
    "recompressed": (same, (30, 80)),
    "resized": (resized, (90, 95)),
    "mirrored": (mirrored, (90, 95)),
    "quarter turn": (turned, (90, 95)),
    "crop 60-100 %": (cropped, (90, 95)),
    "brightness": (brightened, (90, 95)),
    "combination": (combined, (40, 80)),
}


def photographs(folder: Path, count: int) -> list[tuple[Path, str, Image.Image]]:
    """Readable photographs of class folders: path, class, image."""
    found: list[tuple[Path, str, Image.Image]] = []
    paths = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in SUFFIXES)
    for number in RANDOM.permutation(len(paths)):
        if len(found) == count:
            break
        try:
            with Image.open(paths[number]) as image:
                found.append((paths[number], paths[number].parent.name, image.convert("RGB")))
        except (UnidentifiedImageError, OSError):
            continue
    return found


def plant(originals: list[tuple[Path, str, Image.Image]], root: Path, pairs: int) -> dict[str, tuple[str, str]]:
    """Write originals and copies; returns the kind and the name of the original of each copy, by its name."""
    names = []
    for number, (path, label, _) in enumerate(originals):
        target = root / label / f"original-{number:05}{path.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        names.append(f"{label}/{target.name}")
    planted = {}
    for kind, (change, (low, high)) in KINDS.items():
        for number in RANDOM.choice(len(originals), min(pairs, len(originals)), replace=False):
            _, label, image = originals[number]
            name = f"{label}/{kind.replace(' ', '-').replace('%', 'percent')}-{number:05}.jpg"
            change(image).save(root / name, "JPEG", quality=int(RANDOM.integers(low, high + 1)))
            planted[name] = (kind, names[number])
    return planted


def found_pairs(path: Path) -> set[frozenset[str]]:
    """The pairs of copies in the table of an audit."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {frozenset((row["image"], row["other image"])) for row in rows if row["kind"] in ("near copy", "exact copy")}


def families(names: list[str], planted: dict[str, tuple[str, str]], pairs: set[frozenset[str]]) -> dict[str, int]:
    """The group of each image: copies with their originals, and originals that the audit joins without any copy."""
    number = {name: position for position, name in enumerate(names)}
    natural = [(number[one], number[other]) for one, other in map(sorted, pairs) if not {one, other} & planted.keys()]
    joined = components(len(names), [*natural, *((number[copy], number[its]) for copy, (_, its) in planted.items())])
    return dict(zip(names, joined, strict=True))


def main() -> None:
    """Measure, and print the table as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--distractors", type=int, default=600)
    parser.add_argument("--folder", type=Path, default=os.environ.get("FPCN_PHOTOGRAPHS"))
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        folder = options.folder
        if folder is None:
            each = -(-options.distractors // 3)
            folder = make_synthetic(work / "rocks", images_per_class=each, size=224).parent / "images"
        originals = photographs(Path(folder), options.distractors)
        planted = plant(originals, work / "planted", options.pairs)
        config = DataConfig(root=str(work / "planted"), cache=CacheConfig(directory=str(work / "cache")))
        start, cpu = time.monotonic(), time.process_time()
        audit(config, Probe(2, PROBE, options.backbone), work / "audit")
        seconds, cpu_seconds = time.monotonic() - start, time.process_time() - cpu
        pairs = found_pairs(work / "audit" / "audit.csv")
        names = sorted(path.relative_to(work / "planted").as_posix() for path in (work / "planted").glob("*/*"))
    family = families(names, planted, pairs)
    number = {name: position for position, name in enumerate(names)}
    joined = components(len(names), [(number[one], number[other]) for one, other in map(sorted, pairs)])
    group = dict(zip(names, joined, strict=True))
    print("| kind | pairs | recall | found pairs with a copy of this kind | precision |\n|---|---|---|---|---|")
    for kind in KINDS:
        copies = {name: its for name, (of, its) in planted.items() if of == kind}
        hits = sum(group[name] == group[its] for name, its in copies.items())
        touching = [pair for pair in pairs if pair & copies.keys()]
        right = sum(len({family[name] for name in pair}) == 1 for pair in touching)
        precision = right / len(touching) if touching else float("nan")
        print(f"| {kind} | {len(copies)} | {hits / len(copies):.3f} | {len(touching)} | {precision:.3f} |")
    print(f"\n{len(originals)} originals, {len(planted)} copies, {seconds:.0f} s, {cpu_seconds:.0f} s of one core")
    source = {f"original-{number:05}": path for number, (path, _, _) in enumerate(originals)}
    print("pairs between originals:")
    for one, other in sorted(map(sorted, (pair for pair in pairs if not pair & planted.keys()))):
        print(" ", *(source[Path(name).stem].relative_to(folder) for name in (one, other)), sep="\t")
    print("pairs that count as wrong:")
    for pair in sorted(map(sorted, pairs)):
        if len({family[name] for name in pair}) > 1:
            print(" ", *pair, sep="\t")


if __name__ == "__main__":
    main()
