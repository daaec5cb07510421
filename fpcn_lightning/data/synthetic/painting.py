"""Fields that synthetic images are drawn with: smooth noise, directions, mosaics; sizes in pixels."""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Field = NDArray[np.float32]  # one value a pixel, [size, size]

VIEWS_PER_SPECIMEN = 2  # consecutive images that show the same rock or section


def noise(random: Generator, size: int, wavelength: float) -> Field:
    """Smooth noise [size, size], about of zero mean and unit standard deviation; `wavelength` in pixels."""
    if wavelength <= 1:
        return random.standard_normal((size, size), dtype=np.float32)
    nodes = max(2, round(size / wavelength) + 1)
    grid = Image.fromarray(random.standard_normal((nodes, nodes), dtype=np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32)


def fractal(random: Generator, size: int, wavelength: float) -> Field:
    """Noise [size, size] of three octaves, the longest of `wavelength` pixels."""
    octaves = [noise(random, size, wavelength / 2**octave) / 2**octave for octave in range(3)]
    return np.asarray(sum(octaves), dtype=np.float32)


def axes(size: int) -> tuple[Field, Field]:
    """Columns [1, size] and rows [size, 1] of the pixels, 0 to 1."""
    line = np.linspace(0, 1, size, dtype=np.float32)
    return line[None, :], line[:, None]


def along(angle: float, size: int) -> Field:
    """Distance [size, size] along `angle` (radians), in image widths."""
    column, row = axes(size)
    return np.asarray(math.cos(angle) * column + math.sin(angle) * row, dtype=np.float32)


def cells(random: Generator, size: int, spacing: float) -> tuple[Field, NDArray[np.intp], int]:
    """A Voronoi mosaic of a jittered grid: distance to the nearest seed in pixels, that seed's number, seeds in all."""
    count = max(2, round(size / spacing))
    place = (np.indices((count, count)) + random.random((2, count, count))) * (size / count)
    row, column = place.astype(np.intp).reshape(2, -1)
    number = np.full((size, size), -1, dtype=np.intp)
    number[row, column] = np.arange(count * count)
    distance, nearest = ndimage.distance_transform_edt(number < 0, return_indices=True)
    return distance.astype(np.float32), number[nearest[0], nearest[1]], count * count
