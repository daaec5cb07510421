"""Indexed images as loaders read them; without torch, so that photographs are checked before it is imported."""

from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.images import Shape
from fpcn_lightning.data.index import IndexedImage


@dataclass(frozen=True)
class Sample:
    """An image of the index: its file, its class, its row in the cache, and the key that its views are drawn with."""

    path: Path
    label: int  # class number
    cached: int  # row in the cache
    shape: Shape  # that its views are cut from
    key: int  # computed from its bytes: another image that is added to the data set changes no view of this one


def sample_of(image: IndexedImage, label: int, cached: int, augmentation: Augmentation) -> Sample:
    """An indexed image as views are drawn from it, with the number of its class and its row in the cache."""
    shape = augmentation.shape(image.height, image.width)
    return Sample(path=image.path, label=label, cached=cached, shape=shape, key=int(image.digest[:16], 16))
