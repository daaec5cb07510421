"""Small data sets with planted copies, and a backbone that needs no weights."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageEnhance

from fpcn_lightning.data.synthetic.dataset import make_synthetic
from fpcn_lightning.models.probe import Probe

Change = Callable[[Image.Image], Image.Image]


def recompressed(image: Image.Image) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=40)
    return Image.open(stored).convert("RGB")


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    """70 % of the width and 80 % of the height."""
    left, top = image.width // 4, image.height // 10
    return image.crop((left, top, left + round(0.7 * image.width), top + round(0.8 * image.height)))


CHANGES: dict[str, Change] = {
    "recompressed": recompressed,
    "resized": resized,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "cropped": cropped,
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "combined": lambda image: recompressed(cropped(image).transpose(Image.Transpose.TRANSVERSE)),
}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of 24 different rocks of three classes, 160 px."""
    return make_synthetic(tmp_path_factory.mktemp("drawn") / "set", images_per_class=8, size=160).parent / "images"


@pytest.fixture(scope="session")
def network() -> Probe:
    """A tiny backbone with random weights."""
    torch.manual_seed(0)
    return Probe(2, 224, "test_resnet", pretrained=False)
