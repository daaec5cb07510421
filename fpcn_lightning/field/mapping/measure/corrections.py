"""Puts classes that a person has corrected into a map."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from skimage.measure import points_in_poly

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA, ClassMap, centres
from fpcn_lightning.field.mapping.read.corrections import CorrectedOutline

_SURE = 100  # percent


def with_corrections(class_map: ClassMap, outlines: Sequence[CorrectedOutline]) -> ClassMap:
    """The map with the classes of the outlines, of which later ones are above earlier ones.

    A cell belongs to an outline that contains its centre. Cells whose class changes are `by_hand`; places without data
    stay so.
    """
    y, x = centres(class_map.row_edges), centres(class_map.column_edges)
    codes = class_map.codes.copy()
    for outline in outlines:
        low, high = outline.rings[0].min(0), outline.rings[0].max(0)
        rows, columns = (
            slice(*np.searchsorted(places, limits))
            for places, limits in ((y, (low[1], high[1])), (x, (low[0], high[0])))
        )
        inside = _inside(outline.rings, y[rows], x[columns])
        codes[rows, columns][inside & (codes[rows, columns] != NO_DATA)] = outline.code
    by_hand = codes != class_map.codes
    return replace(
        class_map,
        codes=codes,
        confidence=np.where(by_hand, _SURE, class_map.confidence).astype(np.uint8),
        unfamiliar=class_map.unfamiliar & ~by_hand,
        by_hand=by_hand,
    )


def _inside(rings: Sequence[NDArray[np.float64]], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool [len(y), len(x)], in the outer ring and in no hole."""
    points = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], axis=1)
    found = np.ones(len(points), np.bool_)
    for number, ring in enumerate(rings):
        found &= points_in_poly(points, ring) != (number > 0)  # type: ignore[no-untyped-call]
    return found.reshape(len(y), len(x))
