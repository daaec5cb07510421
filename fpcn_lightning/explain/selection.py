"""The images of `source` that task=explain explains: which can be read, their centre views, and their classes."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.images import DEFAULT_LIMITS, ImageLimits, ImageReader, UnreadableImage
from fpcn_lightning.data.names import class_key
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)


def readable(paths: Sequence[Path], limits: ImageLimits = DEFAULT_LIMITS) -> list[Path]:
    """The paths that can be read as images; a warning gives the reason for each of the others.

    Raises:
        UserError: none of them can be read.
    """
    found = []
    with ImageReader(limits) as reader:
        for path in paths:
            try:
                reader.read(path, (8, 8))
                found.append(path)
            except UnreadableImage as error:
                logger.warning("%s is skipped: %s", path, error)
    if not found:
        raise UserError(
            f"source holds no picture that can be read, of {len(paths)} files such as {paths[0]}: give another source."
        )
    return found


def centre_views(paths: Sequence[Path], augmentation: Augmentation, limits: ImageLimits = DEFAULT_LIMITS) -> Tensor:
    """The centre view of each image at the size of validation and test, uint8 [B, 3, S, S]."""
    seen = []
    with ImageReader(limits) as reader:
        for path in paths:
            whole = reader.read(path, augmentation.square or augmentation.shape).pixels
            view = augmentation.centre(whole.shape[:2], augmentation.evaluation_size)
            seen.append(augmentation.cut(whole, view))
    return torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)


def labels_by_folder(paths: Sequence[Path], classes: Sequence[str]) -> list[int | None]:
    """The class with the name of each image's folder; None where no class has it."""
    numbers = {name_or_key: at for at, name in enumerate(classes) for name_or_key in (class_key(name), name)}
    names = [path.resolve().parent.name for path in paths]
    return [numbers.get(name, numbers.get(class_key(name))) for name in names]
