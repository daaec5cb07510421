"""Writes synthetic sections of any size as tiled TIFFs, in bounded memory, with the true class of each pixel."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from fpcn_lightning.data.synthetic.sections import CLASSES, SectionPixels, paint
from fpcn_lightning.errors import UserError

_MICROMETRES_PER_CENTIMETRE = 10_000
_LARGEST_CLASSIC = 3 * 2**30  # bytes of pixels; offsets of a classic TIFF end at 4 GiB
_REDUCED = 1  # subfile type of an image at a reduced size


def _halved(pixels: SectionPixels) -> SectionPixels:
    """The means of blocks of two by two pixels of a tile."""
    quarters = pixels.reshape(len(pixels) // 2, 2, -1, 2, 3)
    return np.asarray(quarters.mean(axis=(1, 3), dtype=np.float32).round().astype(pixels.dtype))


def _insert(tile: NDArray[Any], canvas: NDArray[Any], top: int, left: int) -> None:
    """Copy a tile into a canvas; the part beyond its edges is dropped."""
    part = canvas[top : top + len(tile), left : left + tile.shape[1]]
    part[...] = tile[: part.shape[0], : part.shape[1]]


class _Painter:
    """Draws the tiles of a section in their order in the file, and fills the reduced images and the map of classes.

    Args:
        shape: height and width in pixels.
        tile: size of the tiles in pixels.
        smaller: canvases to fill [h, w, 3], each half as large as the one before, beginning with half of `shape`.
        classes: a canvas to fill [height, width] with the class of each pixel, or None.
        options: of `paint`.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        tile: int,
        smaller: Sequence[NDArray[Any]],
        classes: NDArray[np.uint8] | None,
        **options: Any,
    ) -> None:
        self.shape, self.tile, self.smaller, self.classes, self.options = shape, tile, smaller, classes, options
        self.counts = np.zeros(len(CLASSES), dtype=np.int64)  # pixels of each class so far

    def tiles(self) -> Iterator[SectionPixels]:
        """The tiles [tile, tile, 3], row by row; those at the edges extend beyond the image."""
        height, width = self.shape
        for top, left in product(range(0, height, self.tile), range(0, width, self.tile)):
            pixels, shown = paint(top, left, self.tile, self.tile, **self.options)
            self.counts += np.bincount(shown[: height - top, : width - left].ravel(), minlength=len(CLASSES))
            if self.classes is not None:
                _insert(shown, self.classes, top, left)
            reduced = pixels
            for number, canvas in enumerate(self.smaller, start=1):
                reduced = _halved(reduced)
                _insert(reduced, canvas, top >> number, left >> number)
            yield pixels


def write_section(
    path: Path,
    height: int,
    width: int,
    *,
    seed: int,
    scale_of_grains: float = 1.0,
    bits: int = 8,
    tile: int = 512,
    compression: str | None = "zlib",
    levels: int = 0,
    micrometres_per_pixel: float | None = None,
    truth: Path | None = None,
) -> dict[str, int]:
    """Write a synthetic section as a tiled TIFF, tile by tile; as a BigTIFF where it is too large for a classic one.

    A JSON file of the same name in the same folder has the arguments and the areas.

    Args:
        path: of the TIFF; it is replaced if it exists.
        height: pixels.
        width: pixels.
        seed: of the section.
        scale_of_grains: factor of the size of the grains.
        bits: 8 or 16 a channel.
        tile: size of the tiles in pixels, a multiple of 16.
        compression: a name of tifffile's; all but zlib and None need the package imagecodecs.
        levels: number of reduced images, each half as large as the one before.
        micrometres_per_pixel: written into the resolution tags; None writes no scale.
        truth: a second TIFF to write, with the class of each pixel [height, width], its number in `CLASSES`.

    Returns:
        Area of each class in pixels.

    Raises:
        UserError: an invalid size of the tiles, or one that cannot be halved `levels` times.
    """
    if tile < 16 or tile % 16 or tile % 2**levels:
        raise UserError(f"tile={tile} must be a multiple of 16 that can be halved levels={levels} times.")
    options: dict[str, Any] = {"tile": (tile, tile), "photometric": "rgb", "compression": compression, "metadata": None}
    scale: dict[str, Any] = {}
    if micrometres_per_pixel is not None:
        per_centimetre = _MICROMETRES_PER_CENTIMETRE / micrometres_per_pixel
        scale = {"resolution": (per_centimetre, per_centimetre), "resolutionunit": "CENTIMETER"}
    painted = {"seed": seed, "scale_of_grains": scale_of_grains, "bits": bits}
    dtype = np.uint8 if bits == 8 else np.uint16
    shapes = [(-(-height // 2**n), -(-width // 2**n), 3) for n in range(1, levels + 1)]
    classes = None if truth is None else tifffile.memmap(truth, shape=(height, width), dtype=np.uint8)
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
        tifffile.TiffWriter(path, bigtiff=height * width * 3 * bits // 8 > _LARGEST_CLASSIC) as file,
    ):
        smaller = [np.memmap(Path(folder, str(n)), dtype, "w+", shape=shape) for n, shape in enumerate(shapes)]
        painter = _Painter((height, width), tile, smaller, classes, **painted)
        file.write(painter.tiles(), shape=(height, width, 3), dtype=dtype, subifds=levels, **options, **scale)
        for canvas in smaller:
            file.write(canvas, subfiletype=_REDUCED, **options)
    areas = dict(zip(CLASSES, painter.counts.tolist(), strict=True))
    record = {"height": height, "width": width, **painted, "micrometres_per_pixel": micrometres_per_pixel}
    path.with_suffix(".json").write_text(json.dumps(record | {"areas": areas}, indent=2) + "\n", encoding="utf-8")
    return areas
