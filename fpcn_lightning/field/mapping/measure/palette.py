"""The colours of the classes in maps, tables and figures."""

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.field.mapping.measure.class_map import NO_DATA

# The ten colours of M. A. Petroff (2021, arXiv:2107.02270), which are distinguishable with any kind of colour
# blindness.
TEN_COLOURS = (
    (63, 144, 218),
    (255, 169, 14),
    (189, 31, 1),
    (148, 164, 162),
    (131, 45, 182),
    (169, 107, 89),
    (231, 99, 0),
    (185, 172, 112),
    (113, 117, 129),
    (146, 218, 221),
)
NO_DATA_COLOUR = (255, 255, 255)

# From the eleventh class on, the ten are repeated, mixed with black and with white by these weights.
_ROUNDS = ((0, 0.0), (0, 0.45), (255, 0.45), (0, 0.7), (255, 0.7))


def class_colours(count: int) -> NDArray[np.uint8]:
    """uint8 [256, 3], RGB: the colours of `count` classes by their codes; white for `NO_DATA` and all other codes."""
    table = np.full((NO_DATA + 1, 3), NO_DATA_COLOUR, np.uint8)
    for code in range(count):
        turn, place = divmod(code, len(TEN_COLOURS))
        mixed, weight = _ROUNDS[turn % len(_ROUNDS)]
        table[code] = np.rint((1 - weight) * np.array(TEN_COLOURS[place]) + weight * mixed)
    return table


def hexadecimal(colour: NDArray[np.uint8]) -> str:
    """A colour as in HTML: #3f90da."""
    return "#" + "".join(f"{int(channel):02x}" for channel in colour)
