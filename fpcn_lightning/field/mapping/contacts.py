"""How long the contacts between classes are."""

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.class_map import NO_DATA, ClassMap
from fpcn_lightning.field.results import Row

COLUMNS = ("class_1", "class_2", "length_mm", "length_px", "percent_of_class_1", "percent_of_class_2")


def contact_lengths(found: ClassMap) -> NDArray[np.float64]:
    """Estimate the length of contact between each pair of classes.

    Crofton's formula: a curve of length L is crossed 2 L / (pi d) times by parallel lines d apart, in the mean over
    their directions. The lines run along rows, columns and both diagonals of cells, so that a straight contact is taken
    up to 5 % too short where it runs along one of the four, and up to 3 % too long between them; contacts that run in
    all directions are right in the mean. The same as half of P(a) + P(b) - P(a or b), with P the perimeter by
    `skimage.measure.perimeter_crofton`, but for all pairs at once. Borders of the section and of places without data
    are no contacts.

    Returns:
        float64 [C, C], symmetric, 0 on the diagonal, in pixels of the section.
    """
    count = len(found.classes) + 1
    codes = np.where(found.codes == NO_DATA, count - 1, found.codes)
    crossings = np.zeros((count, count))
    for rows in found.bands:
        upper, lower = codes[rows], codes[rows.start + 1 : rows.stop + 1]
        crossings += _pairs(upper[:, :-1], upper[:, 1:], count)
        upper = upper[: len(lower)]
        crossings += _pairs(upper, lower, count)
        diagonal = _pairs(upper[:, :-1], lower[:, 1:], count) + _pairs(upper[:, 1:], lower[:, :-1], count)
        crossings += diagonal / np.sqrt(2)  # lines along the diagonals lie closer together
    crossings += crossings.T
    np.fill_diagonal(crossings, 0)
    return np.pi / 8 * found.cell * crossings[:-1, :-1]


def contact_rows(found: ClassMap) -> list[Row]:
    """A row with `COLUMNS` for each pair of classes that touch, the longest contact first.

    A class's percentages are of all its contacts with other classes.
    """
    lengths = contact_lengths(found)
    totals = lengths.sum(axis=1)
    pairs = [pair for pair in combinations(range(len(totals)), 2) if lengths[pair] > 0]
    rows: list[Row] = []
    for one, other in sorted(pairs, key=lambda pair: -lengths[pair]):
        length = float(lengths[one, other])
        percents = (float(100 * length / totals[code]) for code in (one, other))
        names = found.classes[one], found.classes[other]
        millimetres = None if found.micrometres_per_pixel is None else length * found.micrometres_per_pixel / 1000
        rows.append(dict(zip(COLUMNS, (*names, millimetres, length, *percents), strict=True)))
    return rows


def _pairs(one: NDArray[np.uint8], other: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """int64 [count, count], how often which code of `one` meets which code of `other`."""
    return np.bincount((one.astype(np.intp) * count + other).ravel(), minlength=count**2).reshape(count, count)
