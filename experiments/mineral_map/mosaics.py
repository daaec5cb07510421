"""Whether the intervals of `fpcn map` contain the truth, on mosaics of photographs whose classes are known.

    python experiments/mineral_map/mosaics.py BUNDLE LIST [--mosaics 10] [--side 12] [--overlap 0]

LIST is a CSV with the columns path and label of photographs that neither trained nor tested the bundle: the confusion
matrix that the map corrects areas by comes from the test photographs. Each mosaic has side x side photographs, each as
large as a window of the network and used once; the shares of the classes are drawn from a uniform Dirichlet
distribution and limited by the number of photographs. Printed: how many of the areas lie within their intervals, in how
many mosaics all of them do, and the errors of the areas as counted and as corrected. The areas are written to
WORK/mosaics-overlap-OVERLAP.json.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.lists import located, read_list
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.mapping.classify.grid import window_size
from fpcn_lightning.field.mapping.map_section import map_section


class Area(NamedTuple):
    """The area of one class in one mosaic, in percent."""

    mosaic: int
    label: str
    truth: float
    counted: float
    corrected: float
    low: float
    high: float

    @property
    def within(self) -> bool:
        """The truth is in the interval."""
        return self.low <= self.truth <= self.high


def photographs(path: Path) -> dict[str, list[Path]]:
    """The photographs of each class."""
    found = defaultdict(list)
    for row in read_list(path, ("path", "label")):
        found[row.text("label")].append(located(path.parent, row.text("path")))
    return dict(sorted(found.items()))


def numbers(available: list[int], tiles: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """How many photographs of each class a mosaic has; their sum is `tiles`, and none is above `available`."""
    found = np.minimum(generator.multinomial(tiles, generator.dirichlet(np.ones(len(available)))), available)
    while found.sum() < tiles:
        free = np.flatnonzero(found < available)
        found[generator.choice(free)] += 1
    return found.astype(np.int64)


def draw(chosen: list[Path], side: int, pixels: int, target: Path) -> None:
    """Write the mosaic of side x side photographs, each squashed to pixels x pixels."""
    mosaic = np.zeros((side * pixels, side * pixels, 3), np.uint8)
    for place, path in enumerate(chosen):
        with Image.open(path) as image:
            tile = image.convert("RGB").resize((pixels, pixels), Image.Resampling.BILINEAR)
        row, column = divmod(place, side)
        mosaic[row * pixels : (row + 1) * pixels, column * pixels : (column + 1) * pixels] = np.asarray(tile)
    tifffile.imwrite(target, mosaic, tile=(256, 256), compression="zlib", photometric="rgb")


def mapped(options: argparse.Namespace) -> list[Area]:
    """The areas of all mosaics."""
    classes = photographs(options.list)
    pixels = window_size(read_bundle(options.bundle), None, None).pixels
    areas = []
    for number in range(options.mosaics):
        generator = np.random.default_rng([options.seed, number])
        counts = numbers([len(paths) for paths in classes.values()], options.side**2, generator)
        drawn = [
            paths[index]
            for paths, count in zip(classes.values(), counts, strict=True)
            for index in generator.choice(len(paths), count, replace=False)
        ]
        target = options.work / f"mosaic-{number}.tif"
        draw([drawn[index] for index in generator.permutation(len(drawn))], options.side, pixels, target)
        output = options.work / f"mosaic-{number}-overlap-{options.overlap:g}"
        map_section(options.bundle, target, output, overlap=options.overlap, file=options.file, overwrite=True)
        facts = json.loads((output / "map.json").read_text(encoding="utf-8"))
        rows = {row["class"]: row for row in facts["areas"]}
        for label, count in zip(classes, counts, strict=True):
            values = [rows[label][key] for key in ("percent", "percent_corrected", "corrected_low", "corrected_high")]
            areas.append(Area(number, label, 100 * count / options.side**2, *values))
        print(f"mosaic {number}: {outside(areas, number) or 'every area within its interval'}", flush=True)
    return areas


def outside(areas: list[Area], mosaic: int) -> str:
    """The areas of a mosaic that are not in their intervals."""
    return "; ".join(
        f"{area.label} {area.truth:.1f} % not in {area.low:.1f} to {area.high:.1f}"
        for area in areas
        if area.mosaic == mosaic and not area.within
    )


def main() -> None:
    """Draw, map, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("list", type=Path)
    parser.add_argument("--work", type=Path, default=Path("outputs/mosaics"), help="folder of mosaics and maps")
    parser.add_argument("--mosaics", type=int, default=10)
    parser.add_argument("--side", type=int, default=12, help="photographs along each side")
    parser.add_argument("--overlap", type=float, default=0.0, help="of windows; above 0 some see several photographs")
    parser.add_argument("--file", help="model file of the bundle")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    areas = mapped(options)
    wrong = {area.mosaic for area in areas if not area.within}
    within = sum(area.within for area in areas)
    errors = np.array([[abs(area.counted - area.truth), abs(area.corrected - area.truth)] for area in areas])
    print(
        f"{within} of {len(areas)} areas within their intervals; all of them in {options.mosaics - len(wrong)} mosaics"
    )
    print(f"mean error {errors.mean(0)[0]:.1f} points as counted, {errors.mean(0)[1]:.1f} corrected")
    print(f"largest {errors.max(0)[0]:.1f} and {errors.max(0)[1]:.1f}")
    print(f"mean width of an interval {np.mean([area.high - area.low for area in areas]):.1f} points")
    text = json.dumps([area._asdict() for area in areas], indent=2)
    (options.work / f"mosaics-overlap-{options.overlap:g}.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
