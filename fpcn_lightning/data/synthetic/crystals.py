"""The shapes in which opaque minerals meet a polished surface: crystals cut by a plane, laths, masses, threads.

A shape is a map of grain numbers, 0 where there is no mineral, and of every grain the direction of its length.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fpcn_lightning.data.synthetic.painting import Field, cells, fractal, noise

MOST_CRYSTALS = 400


class Grains(NamedTuple):
    """Grains in a picture; G of them and the ground, which has number 0."""

    number: NDArray[np.intp]  # [size, size], 0..G
    direction: NDArray[np.float32]  # [1 + G] of the length, radians


Habit = Callable[[Generator, Generator, int, float], Grains]  # of specimen, view, size in pixels, share of the picture


def _section(random: Generator, edges: NDArray[np.float64], tilt: float) -> NDArray[np.float64]:
    """Corners [P, 2] of the polygon in which a plane cuts a box with these edges [3, 3], in order around it.

    The plane lies across the third edge but for `tilt`, and passes near the middle of the box.
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


def _turned(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: NDArray[np.float64] = points @ np.array(((cosine, sine), (-sine, cosine)))
    return turned


def _drawn(
    view: Generator, size: int, share: float, crystal: Callable[[], tuple[NDArray[np.float64], float]]
) -> Grains:
    """One crystal after another, as polygon and direction, at random places until they cover `share` of the picture."""
    canvas = Image.new("I", (size, size))
    pen = ImageDraw.Draw(canvas)
    directions = [0.0]
    while len(directions) <= MOST_CRYSTALS and np.count_nonzero(np.asarray(canvas)) < share * size * size:
        corners, direction = crystal()
        place = view.uniform(-0.05, 1.05, 2) * size
        if len(corners) > 2:
            pen.polygon([(float(x), float(y)) for x, y in corners + place], fill=len(directions))
            directions.append(direction)
    return Grains(np.asarray(canvas, dtype=np.intp), np.array(directions, dtype=np.float32))


def _worn(grains: Grains, view: Generator, size: int, reach: float, wavelength: float) -> Grains:
    """Grains whose edges wander by about `reach` pixels."""
    shift = reach * np.stack([noise(view, size, wavelength) for _ in range(2)])
    row, column = np.clip(np.indices((size, size)) + np.rint(shift).astype(np.intp), 0, size - 1)
    return grains._replace(number=grains.number[row, column])


def _boxes(edges: NDArray[np.float64], tilt: float, smallest: float, largest: float) -> Habit:
    """Crystals with the form of a box, each turned its own way; sizes are shares of the picture's side."""

    def habit(specimen: Generator, view: Generator, size: int, share: float) -> Grains:
        usual = size * specimen.uniform(smallest, largest)
        wear = specimen.uniform(0, 0.05) * usual

        def crystal() -> tuple[NDArray[np.float64], float]:
            angle = view.uniform(0, math.pi)
            corners = _section(view, edges, tilt) * usual * math.exp(view.normal(scale=0.45))
            return _turned(corners, angle), angle

        return _worn(_drawn(view, size, share, crystal), view, size, wear, usual / 3)

    return habit


def _laths(specimen: Generator, view: Generator, size: int, share: float) -> Grains:
    """Needles and laths in one or two sheaves."""
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
        corners[:, 0] += np.array((0, -point[0], 0, point[1]))  # ends are cut aslant
        return _turned(corners, angle), angle

    return _worn(_drawn(view, size, share, crystal), view, size, 0.004 * size, size / 12)


def _level(field: Field, share: float) -> NDArray[np.bool_]:
    """The highest `share` of a field."""
    rank = min(round((1 - share) * field.size), field.size - 1)
    highest: NDArray[np.bool_] = field > np.partition(field, rank, axis=None)[rank]
    return highest


def _mass(specimen: Generator, view: Generator, size: int, share: float) -> Grains:
    """Ragged masses without faces of their own, against which crystals of the ground stand; grains meet inside."""
    _, facet, facets = cells(view, size, size * specimen.uniform(0.05, 0.12))
    angular = view.normal(size=facets).astype(np.float32)[facet]
    inside = _level(fractal(view, size, size * specimen.uniform(0.2, 0.45)) + 0.45 * angular, share)
    _, grain, count = cells(view, size, size * specimen.uniform(0.1, 0.3))
    return Grains(np.where(inside, 1 + grain, 0), np.append(0, view.uniform(0, math.pi, count)).astype(np.float32))


def _blebs(specimen: Generator, view: Generator, size: int, share: float) -> Grains:
    """Rounded blebs, and threads that run between them."""
    wavelength = size * specimen.uniform(0.07, 0.16)
    blebs = noise(view, size, wavelength)
    course, presence = noise(view, size, wavelength * 1.5), noise(view, size, wavelength * 2)
    steepness = np.hypot(*np.gradient(course)) + 1e-3
    width = size * specimen.uniform(0.004, 0.012)
    threads = np.exp(-((course / steepness / width) ** 2)) * (presence > specimen.uniform(0, 1))
    inside = _level(np.maximum(blebs, 3 * threads - 0.5).astype(np.float32), share)
    return Grains(inside.astype(np.intp), np.array((0, view.uniform(0, math.pi)), dtype=np.float32))


_LEAN = math.radians(68)  # of arsenopyrite's rhombs
CUBES = _boxes(np.eye(3), 0.35, 0.06, 0.17)
RHOMBS = _boxes(np.array(((1, 0, 0), (math.cos(_LEAN), math.sin(_LEAN), 0), (0, 0, 1.8))), 0.2, 0.05, 0.15)
LATHS: Habit = _laths
MASSES: Habit = _mass
BLEBS: Habit = _blebs
