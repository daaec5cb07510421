"""How the grains of opaque minerals are drawn: cross-sections of crystals, laths, masses, blebs.

The result is a map of grain numbers, 0 where there is no mineral, and the direction of the length of every grain.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fpcn_lightning.data.synthetic.painting import Field, cells, fractal, noise

MAX_CRYSTALS = 400


class CrystalGrains(NamedTuple):
    """G grains in an image, and the ground, which has number 0."""

    number: NDArray[np.intp]  # [size, size], 0..G
    direction: NDArray[np.float32]  # [1 + G] of the length, radians


Habit = Callable[[Generator, Generator, int, float], CrystalGrains]
"""Draws the grains of a mineral: generators of the specimen and of the view, size in pixels, share of the image."""


def _cross_section(random: Generator, edges: NDArray[np.float64], tilt: float) -> NDArray[np.float64]:
    """Corners [P, 2], in order, of the polygon in which a plane cuts a box with these edges [3, 3].

    The plane is perpendicular to the third edge except for a random `tilt`, and passes near the centre of the box.
    """
    axis = edges[2] / np.linalg.norm(edges[2])
    normal = axis + random.normal(scale=tilt, size=3)
    normal /= np.linalg.norm(normal)
    signs = np.array([(a, b) for a in (-0.5, 0.5) for b in (-0.5, 0.5)])
    begins = np.concatenate([np.insert(signs, axis, -0.5, axis=1) for axis in range(3)]) @ edges
    spans = np.repeat(edges, len(signs), axis=0)
    offset = random.uniform(-0.25, 0.25) * np.abs(edges @ normal).max()
    along = (offset - begins @ normal) / (spans @ normal + 1e-12)
    corners = (begins + along[:, None] * spans)[(along > 0) & (along < 1)]
    right = np.cross(normal, edges[1])
    right /= np.linalg.norm(right)
    flat = corners @ np.stack([right, np.cross(normal, right)], axis=1)
    around = flat - flat.mean(axis=0)
    ordered: NDArray[np.float64] = flat[np.argsort(np.arctan2(around[:, 1], around[:, 0]))]
    return ordered


def _rotated(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(angle), math.sin(angle)
    rotated: NDArray[np.float64] = points @ np.array(((cosine, sine), (-sine, cosine)))
    return rotated


def _scattered(
    view: Generator, size: int, share: float, crystal: Callable[[], tuple[NDArray[np.float64], float]]
) -> CrystalGrains:
    """Crystals, each a polygon and its direction, at random positions until they cover `share` of the image."""
    canvas = Image.new("I", (size, size))
    pen = ImageDraw.Draw(canvas)
    directions = [0.0]
    while len(directions) <= MAX_CRYSTALS and np.count_nonzero(np.asarray(canvas)) < share * size * size:
        corners, direction = crystal()
        place = view.uniform(-0.05, 1.05, 2) * size
        if len(corners) > 2:
            pen.polygon([(float(x), float(y)) for x, y in corners + place], fill=len(directions))
            directions.append(direction)
    return CrystalGrains(np.asarray(canvas, dtype=np.intp), np.array(directions, dtype=np.float32))


def _with_rough_edges(
    grains: CrystalGrains, view: Generator, size: int, reach: float, wavelength: float
) -> CrystalGrains:
    """Grains whose edges are displaced by about `reach` pixels."""
    shift = reach * np.stack([noise(view, size, wavelength) for _ in range(2)])
    row, column = np.clip(np.indices((size, size)) + np.rint(shift).astype(np.intp), 0, size - 1)
    return grains._replace(number=grains.number[row, column])


def _boxes(edges: NDArray[np.float64], tilt: float, smallest: float, largest: float) -> Habit:
    """Box-shaped crystals in random orientations; sizes are shares of the image's size."""

    def draw_boxes(specimen: Generator, view: Generator, size: int, share: float) -> CrystalGrains:
        usual = size * specimen.uniform(smallest, largest)
        roughness = specimen.uniform(0, 0.05) * usual

        def crystal() -> tuple[NDArray[np.float64], float]:
            angle = view.uniform(0, math.pi)
            corners = _cross_section(view, edges, tilt) * usual * math.exp(view.normal(scale=0.45))
            return _rotated(corners, angle), angle

        return _with_rough_edges(_scattered(view, size, share, crystal), view, size, roughness, usual / 3)

    return draw_boxes


def _laths(specimen: Generator, view: Generator, size: int, share: float) -> CrystalGrains:
    """Needles and laths in one to three sheaves."""
    length, slenderness = size * specimen.uniform(0.25, 0.7), specimen.uniform(4, 14)
    sheaves = view.uniform(0, math.pi, size=int(specimen.integers(1, 4)))
    spread = specimen.uniform(0.05, 0.35)

    def crystal() -> tuple[NDArray[np.float64], float]:
        angle = float(view.choice(sheaves)) + view.normal(scale=spread)
        long = length * math.exp(view.normal(scale=0.4))
        wide = long / slenderness * math.exp(view.normal(scale=0.3))
        point = view.uniform(0, wide, 2)
        half = np.array((long, wide)) / 2
        corners = np.array(((-1, -1), (1, -1), (1, 1), (-1, 1))) * half
        corners[:, 0] += np.array((0, -point[0], 0, point[1]))  # the ends are oblique
        return _rotated(corners, angle), angle

    return _with_rough_edges(_scattered(view, size, share, crystal), view, size, 0.004 * size, size / 12)


def _level(field: Field, share: float) -> NDArray[np.bool_]:
    """The highest `share` of a field."""
    rank = min(round((1 - share) * field.size), field.size - 1)
    highest: NDArray[np.bool_] = field > np.partition(field, rank, axis=None)[rank]
    return highest


def _mass(specimen: Generator, view: Generator, size: int, share: float) -> CrystalGrains:
    """Ragged masses without crystal faces, some of their edges straight; they consist of several grains."""
    _, facet, facets = cells(view, size, size * specimen.uniform(0.05, 0.12))
    angular = view.normal(size=facets).astype(np.float32)[facet]
    inside = _level(fractal(view, size, size * specimen.uniform(0.2, 0.45)) + 0.45 * angular, share)
    _, grain, count = cells(view, size, size * specimen.uniform(0.1, 0.3))
    return CrystalGrains(
        np.where(inside, 1 + grain, 0), np.append(0, view.uniform(0, math.pi, count)).astype(np.float32)
    )


def _blebs(specimen: Generator, view: Generator, size: int, share: float) -> CrystalGrains:
    """Rounded blebs, and threads between them."""
    wavelength = size * specimen.uniform(0.07, 0.16)
    blebs = noise(view, size, wavelength)
    course, presence = noise(view, size, wavelength * 1.5), noise(view, size, wavelength * 2)
    steepness = np.hypot(*np.gradient(course)) + 1e-3
    width = size * specimen.uniform(0.004, 0.012)
    threads = np.exp(-((course / steepness / width) ** 2)) * (presence > specimen.uniform(0, 1))
    inside = _level(np.maximum(blebs, 3 * threads - 0.5).astype(np.float32), share)
    return CrystalGrains(inside.astype(np.intp), np.array((0, view.uniform(0, math.pi)), dtype=np.float32))


_LEAN = math.radians(68)  # of arsenopyrite's rhombs
CUBES = _boxes(np.eye(3), 0.35, 0.06, 0.17)
RHOMBS = _boxes(np.array(((1, 0, 0), (math.cos(_LEAN), math.sin(_LEAN), 0), (0, 0, 1.8))), 0.2, 0.05, 0.15)
LATHS: Habit = _laths
MASSES: Habit = _mass
BLEBS: Habit = _blebs
