"""Samples of any type scaled to eight bits."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.images.limits import UnreadableImage

SENSOR_BITS = (8, 10, 12, 14, 16)

_NODATA = 1e38  # floats beyond it mark missing samples: programs write the lowest number of float32, -3.4e38
_BLOCK = 2**22  # samples that are scaled at once, so that the floats of a large image never exist as a whole


def to_eight_bits(samples: NDArray[Any], nodata: float | None = None) -> NDArray[np.uint8]:
    """Scale the samples of one image to 0..255; 0 stays black where the type of the data defines it as black.

    Integers from 0 to 65535 are divided by the smallest full range of a sensor (8, 10, 12, 14 or 16 bits) that holds
    the image's maximum, because 12-bit cameras write 16-bit files that would otherwise be nearly black. Floats from 0
    to 1 are multiplied by 255. All other samples (signed, 32-bit, physical units) are stretched from their minimum to
    their maximum.

    Missing samples (NaN, infinite, beyond +-1e38, or equal to `nodata`) do not count in the minimum and the maximum,
    and are drawn as the minimum of the others.

    Args:
        samples: integers or floats of any shape.
        nodata: a number that marks missing samples, besides those above.

    Returns:
        uint8 of the same shape.

    Raises:
        UnreadableImage: complex samples, or all are missing.
    """
    if samples.dtype.kind not in "uif":
        raise UnreadableImage(f"samples of type {samples.dtype} are not supported")
    rows = np.atleast_1d(samples)
    smallest, largest = _range(rows, nodata)
    floats = samples.dtype.kind == "f"
    ceilings = [1.0] if floats else [2.0**bits - 1 for bits in SENSOR_BITS]
    low, high = smallest, largest
    if low >= 0 and high <= ceilings[-1]:
        low, high = 0.0, next(ceiling for ceiling in ceilings if high <= ceiling)
    factor = 255 / (high - low) if high > low else 0
    scaled = np.empty(rows.shape, np.uint8)
    for part in _parts(rows):
        known = _known(rows[part], nodata)
        filled = rows[part] if known is None else np.where(known, rows[part], rows.dtype.type(smallest))
        wide = filled.astype(np.result_type(samples, np.float32))
        wide -= low
        wide *= factor
        scaled[part] = np.rint(wide).astype(np.uint8)
    return scaled.reshape(samples.shape)


def _parts(rows: NDArray[Any]) -> Iterator[slice]:
    """Parts of the first axis with about `_BLOCK` samples each."""
    step = max(1, _BLOCK * len(rows) // max(1, rows.size))
    return (slice(start, start + step) for start in range(0, len(rows), step))


def _range(rows: NDArray[Any], nodata: float | None) -> tuple[float, float]:
    """The smallest and the largest sample that is not missing."""
    lows, highs = [], []
    for part in _parts(rows):
        known = _known(rows[part], nodata)
        samples = rows[part] if known is None else rows[part][known]
        if samples.size:
            lows.append(float(samples.min()))
            highs.append(float(samples.max()))
    if not lows:
        raise UnreadableImage("all samples are missing: NaN, infinite, or what the file marks as no data")
    return min(lows), max(highs)


def _known(samples: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Which samples are not missing; None if all are known."""
    known = None
    if samples.dtype.kind == "f":
        known = np.abs(samples) < _NODATA  # false for NaN, too
    if nodata is not None:
        other = samples != nodata if samples.dtype.kind != "f" else samples != samples.dtype.type(nodata)
        known = other if known is None else known & other
    return None if known is None or known.all() else known
