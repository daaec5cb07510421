"""Maps at the full size of the section, as tiled BigTIFF files with a pyramid of smaller copies."""

from collections.abc import Iterator
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffWriter

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap

TILE = 512
_GDAL_NODATA = 42113  # the tag from which GDAL, and therefore QGIS, reads the value that means no data
_MICROMETRES_PER_CENTIMETRE = 10_000


def write_raster(
    path: Path, class_map: ClassMap, cells: NDArray[np.uint8], colours: NDArray[np.uint8] | None = None
) -> None:
    """Write cells of a map, each repeated over its pixels, without holding the whole picture in memory.

    Copies of half the size, a quarter, and so on are in SubIFDs, where QuPath and GDAL from 3.2 on look for them. The
    resolution tags hold the scale if it is known.

    Args:
        path: the file.
        class_map: the map, for its sizes.
        cells: uint8 [rows, columns], what is written; `NO_DATA` means no data.
        colours: uint8 [256, 3], the palette; None writes grey levels.
    """
    longest = max(class_map.height, class_map.width)
    factors = [1, *takewhile(lambda factor: longest > TILE * factor / 2, (2**power for power in count(1)))]
    kind: dict[str, Any] = {"photometric": "minisblack"} if colours is None else _palette(colours)
    with TiffWriter(path, bigtiff=True) as writer:
        for factor in factors:
            shape = -(-class_map.height // factor), -(-class_map.width // factor)
            writer.write(
                _tiles(cells, class_map.cell, shape, factor),
                shape=shape,
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="zlib",
                subfiletype=int(factor > 1),
                subifds=len(factors) - 1 if factor == 1 else None,
                extratags=[(_GDAL_NODATA, "s", 0, str(NO_DATA), True)],
                metadata=None,
                **_resolution(class_map.micrometres_per_pixel, factor),
                **kind,
            )


def _tiles(cells: NDArray[np.uint8], cell: int, shape: tuple[int, int], factor: int) -> Iterator[NDArray[np.uint8]]:
    """Tiles row by row; a pixel of a copy shows the cell in its centre, since codes have no mean."""
    rows, columns = (
        np.minimum((np.arange(length) * factor + factor // 2) // cell, cell_count - 1)
        for length, cell_count in zip(shape, cells.shape, strict=True)
    )
    for top in range(0, shape[0], TILE):
        band = cells.take(rows[top : top + TILE], axis=0)
        for left in range(0, shape[1], TILE):
            yield band.take(columns[left : left + TILE], axis=1)


def _palette(colours: NDArray[np.uint8]) -> dict[str, Any]:
    return {"photometric": "palette", "colormap": colours.T.astype(np.uint16) * 257}  # TIFF's palettes have 16 bits


def _resolution(micrometres_per_pixel: float | None, factor: int) -> dict[str, Any]:
    if micrometres_per_pixel is None:
        return {"resolution": (1, 1), "resolutionunit": "NONE"}
    per_centimetre = _MICROMETRES_PER_CENTIMETRE / (micrometres_per_pixel * factor)
    return {"resolution": (per_centimetre, per_centimetre), "resolutionunit": "CENTIMETER"}
