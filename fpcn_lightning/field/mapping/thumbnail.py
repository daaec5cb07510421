"""A section shrunk to what fits on a screen."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.field.mapping.sections import SectionFile

_BAND_PIXELS = 16_000_000  # read at once
_MISSING = 255  # white, as on the maps


def thumbnail(section: SectionFile, longest: int) -> NDArray[np.uint8]:
    """The whole section with at most `longest` pixels a side.

    It is read from the smallest picture in the file that is large enough, band by band, and each pixel is the mean of
    a square of pixels there.

    Returns:
        uint8 [h, w, 3], white where the file is damaged.
    """
    sides = [max(level.height, level.width) for level in section.levels]
    number = max((place for place, side in enumerate(sides) if side >= longest), default=0)
    level, factor = section.levels[number], max(1, math.ceil(sides[number] / longest))
    step = factor * max(1, _BAND_PIXELS // (factor * level.width))
    bands = []
    for top in range(0, level.height, step):
        pixels, known = section.read(top, 0, min(step, level.height - top), level.width, level=number)
        bands.append(np.asarray(Image.fromarray(np.where(known[..., None], pixels, np.uint8(_MISSING))).reduce(factor)))
    return np.concatenate(bands)
