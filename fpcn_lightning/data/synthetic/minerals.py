"""Draws opaque minerals under the reflected-light microscope: pure functions of a key, without files.

The minerals differ as they do under the microscope, in air and without an analyser: in reflectance and tint, in how
much both change from grain to grain (bireflectance, reflection pleochroism), in habit, hardness (relief at the edges,
pits, scratches) and cleavage. Exposure and white balance are random, so that the colour alone does not identify a
mineral: the colours of pyrite and arsenopyrite overlap, and those of chalcopyrite and gold. Each image also shows a
little of another mineral, and holes.

Reflectances are approximate values in air, at about 470, 546 and 620 nm for blue, green and red; measured spectra are
in Criddle and Stanley, Quantitative Data File for Ore Minerals, 1993.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from fpcn_lightning.data.synthetic.crystals import BLEBS, CUBES, LATHS, MASSES, RHOMBS, CrystalGrains, Habit
from fpcn_lightning.data.synthetic.painting import VIEWS_PER_SPECIMEN, Field, along, axes, cells, noise
from fpcn_lightning.errors import UserError

Colour = tuple[float, float, float]  # red, green, blue: the share of light that is reflected, 0..1


class Mineral(NamedTuple):
    """How a mineral looks; amounts are the largest that are drawn, from 0 (none) to 1."""

    darkest: Colour  # over its orientations
    brightest: Colour
    habit: Habit  # the form of its grains
    relief: float  # height of hard minerals above the surface, seen at the edges
    pits: float  # from polishing
    scratches: float
    cleavage: float = 0.0


MINERALS: dict[str, Mineral] = {
    "arsenopyrite": Mineral((0.515, 0.510, 0.500), (0.545, 0.540, 0.525), RHOMBS, 0.9, 0.4, 0.25),
    "chalcopyrite": Mineral((0.455, 0.420, 0.300), (0.470, 0.430, 0.315), MASSES, 0.4, 0.35, 0.7),
    "gold": Mineral((0.860, 0.730, 0.440), (0.860, 0.730, 0.440), BLEBS, 0.3, 0.2, 1.0),
    "pyrite": Mineral((0.555, 0.530, 0.455), (0.555, 0.530, 0.455), CUBES, 1.0, 0.9, 0.2),
    "stibnite": Mineral((0.300, 0.310, 0.325), (0.440, 0.465, 0.500), LATHS, 0.4, 0.4, 0.7, 1.0),
}
CLASSES: tuple[str, ...] = tuple(MINERALS)

# The ground: usual reflectance, how much it differs between grains, grain size as a share of the image size.
GROUNDS: dict[str, tuple[Colour, float, float]] = {
    "quartz": ((0.046, 0.046, 0.047), 0.03, 0.14),
    "carbonate": ((0.055, 0.054, 0.052), 0.25, 0.09),
    "clay": ((0.050, 0.047, 0.043), 0.30, 0.02),
}
GANGUES: tuple[str, ...] = tuple(GROUNDS)


def _pits(random: Generator, size: int, amount: float) -> Field:
    """Small dark holes [size, size], 0 to 1."""
    spacing = size * random.uniform(0.02, 0.05)
    distance, pit, count = cells(random, size, spacing)
    radius = spacing * random.uniform(0.08, 0.3, count) * (random.random(count) < amount)
    ragged = radius.astype(np.float32)[pit] * (1 + 0.4 * noise(random, size, spacing / 3))
    return np.asarray(np.clip(ragged - distance, 0, 1), dtype=np.float32)


def _scratches(random: Generator, size: int, amount: float) -> Field:
    """Fine straight lines [size, size], 0 to 1, most of them in the direction of polishing."""
    canvas = Image.new("F", (size, size))
    pen = ImageDraw.Draw(canvas)
    polish = random.uniform(0, math.pi)
    for _ in range(random.poisson(45 * amount)):
        angle = polish + random.normal(scale=0.15 if random.random() < 0.7 else 1.5)
        middle, reach = random.uniform(0, size, 2), size * random.exponential(0.2)
        step = reach * np.array((math.cos(angle), math.sin(angle)))
        pen.line((*(middle - step).tolist(), *(middle + step).tolist()), fill=random.uniform(0.2, 1), width=1)
    return np.asarray(canvas, dtype=np.float32)


def _cleavage(random: Generator, grains: CrystalGrains, size: int, amount: float) -> Field:
    """Thin dark lines [size, size] along the length of every grain, in some places only; 0 to 1."""
    column, row = axes(size)
    direction = grains.direction[grains.number]
    across = np.cos(direction) * row - np.sin(direction) * column
    phase = random.random(len(grains.direction))[grains.number]
    lines = (across * random.uniform(25, 60) + phase) % 1 < 0.16
    return np.asarray(amount * lines * (noise(random, size, size / 8) > 0.2), dtype=np.float32)


def _edges(grains: CrystalGrains, size: int) -> Field:
    """Nearness of the edge of a grain [size, size]: 1 on it, divided by e every 1/320 of the image size."""
    number = grains.number
    inner = np.ones((size, size), dtype=np.bool_)
    inner[:, 1:] &= number[:, 1:] == number[:, :-1]
    inner[1:] &= number[1:] == number[:-1]
    return np.asarray(np.exp(-ndimage.distance_transform_edt(inner) / (size / 320)), dtype=np.float32)


def _mineral(
    label: str, specimen: Generator, view: Generator, size: int, share: float
) -> tuple[Field, NDArray[np.bool_]]:
    """Reflectance [size, size, 3] of one mineral, and its mask [size, size]."""
    mineral = MINERALS[label]
    # Every mineral may also fill the space between other grains, without crystal faces.
    habit = MASSES if specimen.random() < 0.3 else mineral.habit
    grains = habit(specimen, view, size, share)
    relief, pits, scratches, cleavage = (
        amount * specimen.uniform(0.25, 1)
        for amount in (mineral.relief, mineral.pits, mineral.scratches, mineral.cleavage)
    )
    # The tone depends on the angle to the polariser; lamellae and strain vary it within a grain.
    tone = np.cos(grains.direction[grains.number]) ** 2 + 0.12 * noise(view, size, size / 10)
    darkest, brightest = (np.array(colour, dtype=np.float32) for colour in (mineral.darkest, mineral.brightest))
    colour = darkest + np.clip(tone, 0, 1)[..., None] * (brightest - darkest)
    # Its composition: silver in gold, tarnish.
    colour *= (1 + specimen.normal(scale=(0.03, 0.02, 0.05))).astype(np.float32)
    loss = 1 - 0.55 * relief * _edges(grains, size)
    loss *= 1 - 0.85 * _pits(view, size, 0.6 * pits)
    loss *= 1 - 0.22 * _scratches(view, size, scratches)
    loss *= 1 - 0.6 * _cleavage(view, grains, size, cleavage)
    holes = noise(view, size, size / 14) > view.uniform(1.8, 3)
    return np.asarray(colour * loss[..., None], np.float32), (grains.number > 0) & ~holes


def _gangue(name: str, random: Generator, size: int) -> Field:
    """Reflectance [size, size, 3] of the ground, with internal reflections of its grains."""
    colour, variety, grain_size = GROUNDS[name]
    _, grain, count = cells(random, size, size * grain_size * random.uniform(0.7, 1.4))
    tone = 1 + variety * random.uniform(-1, 1, count)[grain] - 0.25 * _pits(random, size, random.uniform(0, 0.6))
    tone *= 1 + 0.06 * noise(random, size, 2)
    glow = np.clip(noise(random, size, size / 9) - random.uniform(0.3, 1.5), 0, None)
    glow *= 0.02 * (1 + 0.5 * noise(random, size, 3))
    warmth = np.array((1.3, 1.0, 0.7)) ** random.uniform(-0.2, 1)
    return np.asarray(np.array(colour) * tone[..., None] + glow[..., None] * warmth, dtype=np.float32)


def _photographed(reflected: Field, random: Generator) -> Field:
    """The camera's response to reflectances [size, size, 3]: 0 to 1, above 1 where it is overexposed."""
    size = len(reflected)
    column, row = axes(size)
    centre = random.uniform(0.3, 0.7, 2)
    light = 1 - random.uniform(0, 0.5) * ((column - centre[0]) ** 2 + (row - centre[1]) ** 2)
    light = light * (1 + random.uniform(0, 0.15) * along(random.uniform(0, 2 * math.pi), size))
    seen = (reflected + random.uniform(0.002, 0.025)) * light[..., None]  # stray light
    temperature, tint = random.normal(scale=0.08), random.normal(scale=0.02)
    seen *= np.exp(np.array((temperature, tint, -temperature), np.float32))
    brightest = float(np.quantile(seen, 0.98))
    seen *= random.uniform(0.65, 1.05) / brightest ** random.uniform(0.4, 1)
    seen = ndimage.gaussian_filter(seen, (*[size / 320 * random.uniform(0.6, 1.4)] * 2, 0))
    grain = random.uniform(0.002, 0.012)
    seen += grain * np.sqrt(np.clip(seen, 0.02, None)) * random.standard_normal(seen.shape, dtype=np.float32)
    return np.asarray(np.clip(seen, 0, None) ** random.uniform(0.55, 0.75), dtype=np.float32)


def draw(
    label: str, number: int, *, size: int = 320, seed: int = 0, bits: int = 8
) -> tuple[NDArray[np.uint8] | NDArray[np.uint16], NDArray[np.bool_], str]:
    """Draw one field of view: a pure function of its arguments.

    Args:
        label: one of `CLASSES`.
        number: of the image in its class, from 0; numbers 2k and 2k + 1 show two places of one specimen.
        size: height and width of the image in pixels.
        seed: not negative.
        bits: 8 or 16 a channel; the same image, at a finer resolution of brightness.

    Returns:
        The image [size, size, 3], RGB, uint8 or uint16; the mask [size, size], true on the mineral; the ground's name,
        one of `GANGUES`.

    Raises:
        UserError: unknown class, or a negative number.
    """
    if label not in CLASSES:
        raise UserError(f"label={label} is not a class of the synthetic minerals: give one of {', '.join(CLASSES)}.")
    if number < 0:
        raise UserError(f"number={number} is negative: pictures are numbered from 0.")
    index = CLASSES.index(label)
    # The last number of a key is the stream: of the specimen, of the view, of the ground, of the camera.
    specimen = np.random.default_rng([seed, index, number // VIEWS_PER_SPECIMEN, 0])
    view, ground, camera = (np.random.default_rng([seed, index, number, stream]) for stream in (1, 2, 3))
    share = view.uniform(0.12, 0.45)
    gangue = GANGUES[int(specimen.integers(len(GANGUES)))]
    other = str(specimen.choice([name for name in CLASSES if name != label]))
    colour, mask = _mineral(label, specimen, view, size, share)
    other_colour, other_mask = _mineral(other, specimen, view, size, share * specimen.uniform(0, 0.2))
    picture = np.where(other_mask[..., None], other_colour, _gangue(gangue, ground, size))
    picture = np.where(mask[..., None], colour, picture)
    white = 2**bits - 1
    graded = np.clip(np.rint(_photographed(picture, camera) * white), 0, white)
    return graded.astype(np.uint8 if bits == 8 else np.uint16), mask, gangue
