"""Draws synthetic rocks: pure functions of a key, without files.

There are three classes. `granular` is an equigranular mosaic of grains, as in granite; `veined` is a fine matrix with
veins, as in marble; `vesicular` is a fine matrix with small rounded pores, as in basalt. The mean and the standard
deviation of each channel inside the outline of a rock are drawn from one distribution for all classes, and so are
outline, light and background: the classes differ in texture only. Each rock also has a weaker overprint of another
class's texture, and some backgrounds resemble one.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from fpcn_lightning.data.synthetic.painting import VIEWS_PER_SPECIMEN, Field, along, axes, cells, fractal, noise
from fpcn_lightning.errors import UserError

Texture = Callable[[Generator, Generator, int], Field]


def _bands(random: Generator, size: int, bands: float, swirl: float) -> Field:
    """A wave [size, size] with `bands` periods across the image at a random angle, distorted by noise; -1 to 1."""
    phase = 2 * math.pi * bands * along(random.uniform(0, math.pi), size) + swirl * fractal(random, size, size / 3)
    return np.asarray(np.sin(phase + random.uniform(0, 2 * math.pi)), dtype=np.float32)


def _granular(specimen: Generator, view: Generator, size: int) -> Field:
    spacing = size * specimen.uniform(0.018, 0.06)
    minerals = specimen.normal(size=4)
    shares = specimen.dirichlet(np.full(4, 3.0))
    _, grain, count = cells(view, size, spacing)
    albedo = view.choice(minerals, size=count, p=shares) + view.normal(scale=0.4, size=count)
    ragged = spacing / 8 * np.stack([noise(view, size, spacing / 2) for _ in range(2)])
    row, column = np.clip(np.indices((size, size)) + np.rint(ragged).astype(np.intp), 0, size - 1)
    return np.asarray(albedo.astype(np.float32)[grain[row, column]])


def _veined(specimen: Generator, view: Generator, size: int) -> Field:
    thickness = size * specimen.uniform(0.004, 0.014)
    bands, swirl = specimen.uniform(1.5, 5), specimen.uniform(0.8, 2.5)
    polarity = 1 if specimen.random() < 0.5 else -1
    veins = np.zeros((size, size), dtype=np.float32)
    for strength in (1.0, specimen.uniform(0.3, 1)):
        wave = _bands(view, size, bands, swirl)
        steepness = np.hypot(*np.gradient(wave)) + 1e-3
        swelling = thickness * np.exp(0.5 * noise(view, size, size / 6))
        veins = np.maximum(veins, strength * np.exp(-((wave / steepness / swelling) ** 2)))
    return np.asarray(polarity * veins, dtype=np.float32)


def _vesicular(specimen: Generator, view: Generator, size: int) -> Field:
    spacing = size * specimen.uniform(0.03, 0.075)
    share = specimen.uniform(0.35, 0.8)
    filled = specimen.random() < 0.25
    distance, pore, count = cells(view, size, spacing)
    radius = spacing * view.uniform(0.12, 0.5, size=count) * (view.random(count) < share)
    depth = np.clip(radius.astype(np.float32)[pore] - distance, 0, 1.5)
    return np.asarray(depth if filled else -depth, dtype=np.float32)


TEXTURES: dict[str, Texture] = {"granular": _granular, "veined": _veined, "vesicular": _vesicular}
CLASSES: tuple[str, ...] = tuple(TEXTURES)


def _studio(random: Generator, size: int) -> Field:
    return 2 * along(random.uniform(0, 2 * math.pi), size)


def _grass(random: Generator, size: int) -> Field:
    canvas = Image.new("F", (size, size))
    pen = ImageDraw.Draw(canvas)
    blades = 900
    foot = random.uniform(-0.05, 1.05, (blades, 2)) * size
    tip = foot + random.normal((0, -0.08), (0.04, 0.04), (blades, 2)) * size
    for (x, y), (u, v), shade in zip(foot, tip, random.normal(size=blades), strict=True):
        pen.line((x, y, u, v), fill=float(shade), width=max(1, size // 100))
    return np.asarray(canvas, dtype=np.float32)


def _sand(random: Generator, size: int) -> Field:
    distance, pebble, count = cells(random, size, size / 14)
    radius = size / 28 * random.uniform(-2, 1, size=count).astype(np.float32)
    pebbles = np.clip(radius[pebble] - distance, 0, 1)
    return np.asarray(noise(random, size, 1.5) + noise(random, size, size / 4) - 2 * pebbles, dtype=np.float32)


def _cloth(random: Generator, size: int) -> Field:
    stripes = _bands(random, size, random.uniform(6, 14), 0.3)
    weave = 0.5 * _bands(random, size, size / 4, 0) + 0.2 * noise(random, size, 1)
    return np.asarray(0.8 * np.sign(stripes) + weave, dtype=np.float32)


def _wood(random: Generator, size: int) -> Field:
    rings = _bands(random, size, random.uniform(5, 12), 2)
    tone = 0.3 * noise(random, size, 2) + 0.4 * noise(random, size, size / 3)
    return np.asarray(np.abs(rings) + tone, dtype=np.float32)


def _gravel(random: Generator, size: int) -> Field:
    spacing = size * random.uniform(0.04, 0.1)
    distance, stone, count = cells(random, size, spacing)
    albedo = random.normal(size=count).astype(np.float32)
    return np.asarray(albedo[stone] - 2 * (distance / spacing) ** 2, dtype=np.float32)


# Family -> the function that draws it, and its usual colour (red, green, blue; 0 to 255).
_SURFACES: dict[str, tuple[Callable[[Generator, int], Field], tuple[int, int, int]]] = {
    "studio": (_studio, (150, 152, 158)),
    "grass": (_grass, (92, 120, 62)),
    "sand": (_sand, (186, 164, 124)),
    "cloth": (_cloth, (112, 104, 138)),
    "wood": (_wood, (146, 104, 66)),
    "gravel": (_gravel, (128, 124, 118)),
}
BACKGROUNDS: tuple[str, ...] = tuple(_SURFACES)


def _outline(random: Generator, size: int) -> tuple[NDArray[np.bool_], Field, Field]:
    """A rock's mask, and the offset (right, down) of each pixel from its centre, 1 at the outline; all [size, size].

    The shape is star-shaped about a centre inside the image, hence in one piece even where the image's edge cuts it,
    and its area is uniformly distributed from 10 % to 90 % of the image, because the level is chosen by rank.
    """
    area = random.uniform(0.1, 0.9)
    play = 0.5 * (1 - math.sqrt(area))
    column, row = axes(size)
    right, down = np.broadcast_arrays(
        column - 0.5 + random.uniform(-play, play), row - 0.5 + random.uniform(-play, play)
    )
    turn, stretch, power = random.uniform(0, math.pi), random.uniform(1, 1.6 - 0.6 * area), random.uniform(2, 4)
    across = np.abs(math.cos(turn) * right + math.sin(turn) * down) / stretch
    upright = np.abs(math.cos(turn) * down - math.sin(turn) * right) * stretch
    angles = np.linspace(-math.pi, math.pi, 1024, dtype=np.float32)
    swell = np.zeros_like(angles)
    for order in range(2, 14):
        swell += random.normal(scale=0.25 / order**1.5) * np.cos(order * angles + random.uniform(0, 2 * math.pi))
    around = np.rint((np.arctan2(down, right) / (2 * math.pi) + 0.5) * (len(angles) - 1)).astype(np.intp)
    reach = (across**power + upright**power) ** (1 / power) * np.exp(swell)[around]
    rank = round(area * size * size) - 1
    reach /= np.partition(reach, rank, axis=None)[rank]
    scale = reach / (np.hypot(right, down) + 1e-6)
    return reach <= 1, right * scale, down * scale


def _standardise(field: Field, mask: NDArray[np.bool_]) -> Field:
    inside = field[mask]
    return np.asarray((field - inside.mean()) / (inside.std() + 1e-6), dtype=np.float32)


def _texture(label: str, specimen: Generator, view: Generator, mask: NDArray[np.bool_]) -> Field:
    """The pattern [size, size] of one rock, of zero mean and unit standard deviation inside `mask`."""
    size = len(mask)
    other = specimen.choice([name for name in CLASSES if name != label])
    pattern = _standardise(TEXTURES[label](specimen, view, size), mask)
    overprint = _standardise(TEXTURES[str(other)](specimen, view, size), mask)
    matrix = _standardise(fractal(view, size, size / 40), mask)
    blend = pattern + specimen.uniform(0.1, 0.7) * overprint + specimen.uniform(0.2, 0.7) * matrix
    return _standardise(ndimage.gaussian_filter(blend, view.uniform(0.4, 1.2)), mask)


def _coloured(pattern: Field, view: Generator, mask: NDArray[np.bool_]) -> Field:
    """Colour [size, size, 3], 0 to 255, whose mean and spread inside `mask` do not depend on the class."""
    warmth = view.uniform(-6, 18) * np.array((1, 0.2, -1))
    means = (view.uniform(100, 155) + warmth + view.uniform(-4, 4, 3)).tolist()
    spreads = (view.uniform(16, 28) * view.uniform(0.9, 1.1, 3)).tolist()
    size = len(mask)
    stain = noise(view, size, size / 4)
    pattern = pattern + 0.15 * noise(view, size, 1)
    channels = []
    for mean, spread, tint in zip(means, spreads, view.uniform(-0.2, 0.2, 3).tolist(), strict=True):
        # Long tails differ between textures; clipped before the last standardisation, they cannot exceed 0 or 255.
        bounded = np.clip(_standardise(pattern + tint * stain, mask), -2.5, 2.5)
        channels.append(mean + spread * _standardise(bounded, mask))
    return np.stack(channels, axis=-1)


def _behind(family: str, random: Generator, size: int) -> Field:
    """The background [size, size, 3], about 0 to 255, lit unevenly."""
    painter, usual = _SURFACES[family]
    field = _standardise(painter(random, size), np.ones((size, size), dtype=np.bool_))
    colour = np.asarray(usual) + random.uniform(-20, 20) + random.uniform(-12, 12, 3)
    shade = random.uniform(10, 28) * (field + 0.15 * noise(random, size, 1))
    light = 1 + random.uniform(0, 0.4) * along(random.uniform(0, 2 * math.pi), size)
    return (colour.astype(np.float32) + shade[..., None]) * light[..., None]


def _lit(mask: NDArray[np.bool_], right: Field, down: Field, random: Generator) -> tuple[Field, Field]:
    """Light from one direction: what it adds to the rock's pattern, and the share of it that reaches the ground."""
    angle = random.uniform(0, 2 * math.pi)
    sun_right, sun_down = math.cos(angle), math.sin(angle)
    slope = random.uniform(0.2, 0.9) * (sun_right * right + sun_down * down)
    edge = random.uniform(0, 0.6) * np.hypot(right, down) ** 6
    margin = math.ceil(0.03 * len(mask))
    top, left = round(margin * (1 + sun_down)), round(margin * (1 + sun_right))
    cast = np.pad(mask.astype(np.float32), margin)[top : top + len(mask), left : left + len(mask)]
    reaching = 1 - 0.5 * ndimage.gaussian_filter(cast, margin / 2)
    return np.asarray(slope - edge, dtype=np.float32), np.asarray(reaching, dtype=np.float32)


def draw(
    label: str, number: int, *, size: int = 224, seed: int = 0, backgrounds: Sequence[str] = BACKGROUNDS
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str]:
    """Draw one rock: a pure function of its arguments.

    Args:
        label: one of `CLASSES`.
        number: of the image in its class, from 0; numbers 2k and 2k + 1 show one specimen: the same parameters of the
            texture in two views.
        size: height and width of the image in pixels.
        seed: not negative.
        backgrounds: the families of `BACKGROUNDS` to choose from; the rock does not depend on them.

    Returns:
        The image [size, size, 3], uint8 RGB; the mask [size, size], true on the rock; the background's family.

    Raises:
        UserError: unknown class, or a negative number.
    """
    if label not in CLASSES:
        raise UserError(f"label={label} is not a class of the synthetic rocks: give one of {', '.join(CLASSES)}.")
    if number < 0:
        raise UserError(f"number={number} is negative: pictures are numbered from 0.")
    index = CLASSES.index(label)
    # The last number of a key is the stream: of the specimen, of the view, of the background.
    specimen = np.random.default_rng([seed, index, number // VIEWS_PER_SPECIMEN, 0])
    view = np.random.default_rng([seed, index, number, 1])
    behind = np.random.default_rng([seed, index, number, 2])
    mask, right, down = _outline(view, size)
    relief, ground_light = _lit(mask, right, down, view)
    rock = _coloured(_texture(label, specimen, view, mask) + relief, view, mask)
    family = backgrounds[int(behind.integers(len(backgrounds)))]
    ground = _behind(family, behind, size) * ground_light[..., None]
    picture = np.where(mask[..., None], rock, ground)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), mask, family
