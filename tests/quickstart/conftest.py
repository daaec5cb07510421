"""A folder of photographs whose name has all that command lines treat in a special way."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAME = "Félsen, [neu] {a}=b 'c' \"d\""


def draw(path: Path, number: int, size: int = 24) -> Path:
    """Save a picture that differs for every number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three classes of 12 pictures."""
    folder = tmp_path / NAME
    for number in range(36):
        draw(folder / ("basalt", "gneiss", "tuff")[number % 3] / f"{number:02}.png", number)
    return folder
