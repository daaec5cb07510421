"""Views of images that are too large to be resized to a square: tiles at their own resolution.

In training a tile is drawn from anywhere in the image; in validation and test a fixed grid of tiles covers it, and
`fpcn_lightning.modules.voting` averages their predictions.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np

from fpcn_lightning.data.augment import Augmentation, View
from fpcn_lightning.data.images import Shape
from fpcn_lightning.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Tiling(Augmentation):
    """Views of images that keep their aspect ratio.

    Args:
        tile_scale: images are resized by this factor before they are cut; one that is then smaller than a tile is
            enlarged until its shorter side is as long as one.
        max_tiles: of one image in validation and test. Where more would be needed to cover it, the longer side of
            the grid loses one tile after another; the remaining tiles are spread evenly, with gaps.

    Raises:
        UserError: a number that is not positive, or what `Augmentation` raises.
    """

    tile_scale: float = 1.0
    max_tiles: int = 16

    def shape(self, height: int, width: int) -> Shape:
        """Height and width times `tile_scale`, or times what makes the shorter one as long as a tile."""
        factor = max(self.tile_scale, max(self.crop, self.evaluation_size) / min(height, width))
        return round(height * factor), round(width * factor)

    def _evaluation_views(self, shape: Shape) -> tuple[View, ...]:
        """As few tiles as cover the image, or `max_tiles`, evenly spread from edge to edge, row by row."""
        side = self.evaluation_size
        counts = [math.ceil(length / side) for length in shape]
        while math.prod(counts) > self.max_tiles:
            counts[counts.index(max(counts))] -= 1
        tops, lefts = (_corners(length, side, count) for length, count in zip(shape, counts, strict=True))
        return tuple(View(top, left, False, side) for top, left in product(tops, lefts))

    def _check_sizes(self) -> None:
        sides = (("crop", self.crop), ("evaluation_crop", self.evaluation_size))
        for key, number in (*sides, ("tile_scale", self.tile_scale), ("max_tiles", self.max_tiles)):
            if not number > 0:
                raise UserError(f"data.{key}={number} must be above 0.")


def _corners(length: int, side: int, count: int) -> list[int]:
    """Where `count` tiles begin that reach from one end of `length` to the other; a single one is in the middle."""
    if count == 1:
        return [(length - side) // 2]
    return [int(corner) for corner in np.rint(np.linspace(0, length - side, count))]
