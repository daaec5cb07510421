"""Draws whole polished sections under the reflected-light microscope, whose grains are known exactly.

A section is an endless mosaic of opaque minerals and gangue. It is divided into fields; most fields are one large
grain, with ragged edges, the others consist of small grains. Minerals look as in
`fpcn_lightning.data.synthetic.minerals`, which has their optical properties: reflectance and tint, change with
orientation, pits, scratches, cleavage. A whole section has one setting of the camera; the light varies slowly across
it. Any block can be drawn alone (see `fpcn_lightning.data.synthetic.lattice`), so that a section of any size can be
written, or an image be cut from it, in little memory.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.data.synthetic import minerals
from fpcn_lightning.data.synthetic.lattice import Block, Field, Mosaic, Whole, hashes, key, smooth, uniform
from fpcn_lightning.data.synthetic.minerals import GROUNDS, MINERALS
from fpcn_lightning.data.synthetic.painting import VIEWS_PER_SPECIMEN
from fpcn_lightning.errors import UserError

GANGUE = "gangue"
CLASSES: tuple[str, ...] = (*minerals.CLASSES, GANGUE)
# Share of the area of a large section that each class covers.
SHARES = {"arsenopyrite": 0.13, "chalcopyrite": 0.17, "gold": 0.06, "pyrite": 0.22, "stibnite": 0.10, GANGUE: 0.32}

_SMALL, _LARGE = 240, 960  # usual diameters of small grains and of fields, pixels
_WHOLE_FIELDS = 0.65  # share of fields that are one grain
_CLEARANCE = 5  # pixels between the centre of an image and the nearest other class
_REACH = 20_000  # images are cut from a square of this size, pixels
_CANDIDATES = 256
_BLOCK = 512  # size of the blocks that are drawn at once, pixels
_LEVELS = 4095  # of light, before the tone curve of the camera

_COUNT = len(CLASSES)
_SHARES = np.array([SHARES[name] for name in CLASSES])
# By class: amounts of pits, scratches, cleavage and mottling.
_PITS = np.array([MINERALS[name].pits for name in minerals.CLASSES] + [0.4], np.float32)
_SCRATCHES = np.array([MINERALS[name].scratches for name in minerals.CLASSES] + [0.0], np.float32)
_CLEAVAGE = np.array([MINERALS[name].cleavage for name in minerals.CLASSES] + [0.0], np.float32)
_MOTTLING = np.array([0.03] * len(minerals.CLASSES) + [0.3], np.float32)

SectionPixels = NDArray[np.uint8] | NDArray[np.uint16]


class _Camera(NamedTuple):
    """How a section is polished and photographed."""

    exposure: NDArray[np.float32]  # [3] factors of red, green and blue
    stray: float  # stray light, added everywhere
    curve: Field  # [1 + _LEVELS] tone curve, 0 to 1
    grain: float  # standard deviation of the noise, 0 to 1
    polish: tuple[float, float]  # cosine and sine of the direction of the scratches


@lru_cache(maxsize=64)
def _camera(seed: int) -> _Camera:
    random = np.random.default_rng([seed, 1])
    temperature, tint = random.normal(scale=0.025), random.normal(scale=0.01)
    exposure = random.uniform(0.95, 1.08) * np.exp(np.array((temperature, tint, -temperature)))
    curve = np.linspace(0, 1, _LEVELS + 1) ** random.uniform(0.6, 0.68)
    angle = random.uniform(0, math.pi)
    stray, grain = random.uniform(0.004, 0.012), random.uniform(0.008, 0.016)
    direction = (math.cos(angle), math.sin(angle))
    return _Camera(exposure.astype(np.float32), stray, curve.astype(np.float32), grain, direction)


def _draws(seed: int, stream: str, scale: float, cells: Whole) -> tuple[Field, Field]:
    """Two random numbers [N] of the grain that each small cell [2, N] is part of, 0 to below 1."""
    small, large = Mosaic(key(seed, "small"), _SMALL * scale), Mosaic(key(seed, "large"), _LARGE * scale)
    fields = large.around(small.seeds(cells))
    whole = uniform(key(seed, "whole"), *fields) < _WHOLE_FIELDS
    first, second = (
        np.where(
            whole, uniform(key(seed, f"{stream} of a field {n}"), *fields), uniform(key(seed, f"{stream} {n}"), *cells)
        )
        for n in (1, 2)
    )
    return first, second


def _labels(seed: int, scale: float, cells: Whole) -> NDArray[np.uint8]:
    """Class [N] of each small cell [2, N]."""
    drawn, _ = _draws(seed, "class", scale, cells)
    return np.minimum(np.searchsorted(np.cumsum(_SHARES), drawn, side="right"), _COUNT - 1).astype(np.uint8)


def _colours(labels: NDArray[np.uint8], turn: Field, variety: Field) -> Field:
    """Reflectance [N, 3] of cells of these classes; `turn` is their orientation, `variety` their tone, 0 to 1."""
    colours = np.empty((len(labels), 3), dtype=np.float32)
    tone = np.cos(math.pi * turn)[:, None] ** 2
    for number, name in enumerate(minerals.CLASSES):
        darkest, brightest = (np.array(c) for c in (MINERALS[name].darkest, MINERALS[name].brightest))
        colours[labels == number] = (darkest + tone * (brightest - darkest))[labels == number]
    grounds = np.array([ground[0] for ground in GROUNDS.values()])
    spread = np.array([ground[1] for ground in GROUNDS.values()])
    kind = (turn * len(grounds)).astype(np.int64)
    ground = grounds[kind] * (1 + spread[kind] * (2 * variety - 1))[:, None]
    colours[labels == _COUNT - 1] = ground[labels == _COUNT - 1]
    return np.asarray(colours * (0.98 + 0.04 * variety)[:, None], dtype=np.float32)


def _pits(seed: int, block: Block, amount: Field) -> Field:
    """Share of the light that is lost in small holes [height, width], 0 to 1; `amount` is their density, 0 to 1."""
    spacing = 22
    row, column = block.rows // spacing, block.columns // spacing
    squares = np.arange(row[0, 0], row[-1, 0] + 1)[:, None], np.arange(column[0, 0], column[0, -1] + 1)[None, :]
    bits = hashes(key(seed, "pits"), *squares)
    down, across, size, presence = (((bits >> np.uint64(16 * n)) & np.uint64(0xFFFF)) / 2**16 for n in range(4))
    radius = 1 + 4 * size**2
    index = np.ix_((row - row[0, 0])[:, 0], (column - column[0, 0])[0])
    high = (block.rows % spacing - (radius + (spacing - 2 * radius) * down).astype(np.float32)[index]) ** 2
    wide = (block.columns % spacing - (radius + (spacing - 2 * radius) * across).astype(np.float32)[index]) ** 2
    inside = np.clip(radius.astype(np.float32)[index] - np.sqrt(high + wide), 0, 1)
    return np.asarray(inside * (presence.astype(np.float32)[index] < 0.6 * amount), dtype=np.float32)


def _scratches(seed: int, block: Block, polish: tuple[float, float]) -> Field:
    """Depth of fine straight lines of one direction [height, width], 0 to 1."""
    spacing, length = np.float32(11), np.float32(240)
    cosine, sine = polish
    along = (cosine * block.columns + sine * block.rows) / length
    across = (cosine * block.rows - sine * block.columns) / spacing
    lane = np.floor(across)
    # Each lane has its own offset; the factor 0.618 spreads the offsets evenly.
    piece = np.floor(along + 0.618 * lane)
    bits = hashes(key(seed, "scratches"), lane.astype(np.int64), piece.astype(np.int64))
    middle = 0.1 + 0.8 * ((bits & np.uint64(0xFFFF)) / np.float32(2**16)).astype(np.float32)
    depth = ((bits >> np.uint64(16)) & np.uint64(0xFFFF)).astype(np.float32) / np.float32(2**16)
    on_line = np.abs(across - lane - middle) * spacing < 0.7
    return np.asarray(on_line * np.clip(1.6 * depth - 0.6, 0, 1), dtype=np.float32)


def _cleavage(block: Block, turn: Field, owner: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Thin lines [height, width] along the orientation of each cell."""
    cosine, sine = (np.asarray(of(math.pi * turn)[owner], np.float64) for of in (np.cos, np.sin))
    across = (cosine * block.rows - sine * block.columns) / 13
    lines: NDArray[np.bool_] = across - np.floor(across) < 0.16
    return lines


def _paint_block(block: Block, seed: int, scale: float, bits: int) -> tuple[SectionPixels, NDArray[np.uint8]]:
    """The pixels of one block, and their classes."""
    camera = _camera(seed)
    cells, owner = Mosaic(key(seed, "small"), _SMALL * scale).of(block)
    labels, (turn, variety) = _labels(seed, scale, cells), _draws(seed, "grain", scale, cells)
    classes = labels[owner]
    light = 1 + _MOTTLING[classes] * smooth(key(seed, "mottling"), block, 9)
    light *= 1 - 0.85 * _pits(seed, block, _PITS[classes] * (1 + smooth(key(seed, "polish"), block, 500)))
    light *= 1 - 0.25 * _SCRATCHES[classes] * _scratches(seed, block, camera.polish)
    if _CLEAVAGE[labels].any():
        presence = smooth(key(seed, "cleavage"), block, 60) > 0.1
        light *= 1 - 0.5 * _CLEAVAGE[classes] * (_cleavage(block, turn, owner) & presence)
    seen = _colours(labels, turn, variety)[owner] * light[..., None]
    fall = 1 + 0.05 * smooth(key(seed, "shading"), block, 2500)
    seen = (seen + np.float32(camera.stray)) * fall[..., None] * camera.exposure
    graded = camera.curve[np.minimum(seen * _LEVELS + 0.5, _LEVELS).astype(np.int32)]
    parts = hashes(key(seed, "noise"), block.rows, block.columns)[..., None].view(np.uint8)
    # The sum of two bytes of the hash for each channel: triangular noise with a standard deviation of 104.5.
    noise = parts[..., :3].astype(np.float32) + parts[..., 3:6] - 255
    white = 2**bits - 1
    values = np.clip((graded + noise * np.float32(camera.grain / 104.5)) * white + 0.5, 0, white)
    return values.astype(np.uint8 if bits == 8 else np.uint16), classes


def paint(
    top: int, left: int, height: int, width: int, *, seed: int, scale_of_grains: float = 1.0, bits: int = 8
) -> tuple[SectionPixels, NDArray[np.uint8]]:
    """Draw one rectangle of a section, a pure function of place and seed: adjacent rectangles fit together.

    Args:
        top: row of the first pixel.
        left: column of the first pixel.
        height: pixels.
        width: pixels.
        seed: of the section, not negative.
        scale_of_grains: factor of the size of the grains.
        bits: 8 or 16 a channel.

    Returns:
        The image [height, width, 3], RGB, uint8 or uint16, and the class of each pixel [height, width], its number in
        `CLASSES`.
    """
    pixels = np.empty((height, width, 3), dtype=np.uint8 if bits == 8 else np.uint16)
    classes = np.empty((height, width), dtype=np.uint8)
    for row in range(0, height, _BLOCK):
        for column in range(0, width, _BLOCK):
            part = slice(row, min(row + _BLOCK, height)), slice(column, min(column + _BLOCK, width))
            block = Block(top + row, left + column, part[0].stop - row, part[1].stop - column)
            pixels[part], classes[part] = _paint_block(block, seed, scale_of_grains, bits)
    return pixels, classes


def classes_at(places: NDArray[np.float64] | Whole, *, seed: int, scale_of_grains: float = 1.0) -> NDArray[np.uint8]:
    """Class [P] at `places` [2, P], rows and columns in pixels, of the section that `paint` draws."""
    cells = Mosaic(key(seed, "small"), _SMALL * scale_of_grains).around(places)
    return _labels(seed, scale_of_grains, cells)


def section_of(label: str, number: int, *, seed: int) -> int:
    """Seed of the section that image `number` of a class is cut from: numbers 2k and 2k + 1 share it."""
    state = np.random.SeedSequence([seed, CLASSES.index(label), number // VIEWS_PER_SPECIMEN])
    return int(state.generate_state(1, np.uint64)[0])


def _centre(label: str, number: int, section: int) -> Whole:
    """A random place [2] of a class in a section, at least `_CLEARANCE` pixels from any other class."""
    random = np.random.default_rng([section, number % VIEWS_PER_SPECIMEN, 2])
    angles = np.arange(8) * (math.pi / 4)
    ring = _CLEARANCE * np.stack([np.append(0, np.sin(angles)), np.append(0, np.cos(angles))])
    while True:
        places = random.integers(0, _REACH, (2, _CANDIDATES))
        around = classes_at((places[:, :, None] + ring[:, None]).reshape(2, -1), seed=section)
        fits = (around.reshape(_CANDIDATES, -1) == CLASSES.index(label)).all(axis=1)
        if fits.any():
            return np.asarray(places[:, fits.argmax()])


def draw(
    label: str, number: int, *, size: int = 112, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str]:
    """Cut one image from a section: a pure function of its arguments.

    The image may show several grains: its class is that of the pixel in its middle, at row and column size // 2, which
    is at least 5 pixels from the nearest other class.

    Args:
        label: one of `CLASSES`.
        number: of the image in its class, from 0; numbers 2k and 2k + 1 show one section.
        size: height and width of the image in pixels.
        seed: not negative.

    Returns:
        The image uint8 [size, size, 3], RGB; the mask [size, size], true on the class; the most frequent other class,
        or the class itself where no other is seen.

    Raises:
        UserError: unknown class, or a negative number.
    """
    if label not in CLASSES:
        raise UserError(f"label={label} is not a class of the synthetic sections: give one of {', '.join(CLASSES)}.")
    if number < 0:
        raise UserError(f"number={number} is negative: pictures are numbered from 0.")
    section = section_of(label, number, seed=seed)
    top, left = (int(place) - size // 2 for place in _centre(label, number, section))
    picture, classes = paint(top, left, size, size, seed=section)
    index = CLASSES.index(label)
    others = np.bincount(classes[classes != index], minlength=_COUNT)
    surrounding = CLASSES[int(others.argmax())] if others.any() else label
    return picture.astype(np.uint8, copy=False), classes == index, surrounding
