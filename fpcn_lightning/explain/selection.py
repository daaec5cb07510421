"""The images of `source` that task=explain explains: which can be read, their centre views, and their classes."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.images import UnreadableImage, decode, read_file
from fpcn_lightning.data.names import class_key
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)


def readable(paths: Sequence[Path]) -> list[Path]:
    """The paths that can be read as images; a warning gives the reason for each of the others.

    Raises:
        UserError: none of them can be read.
    """
    found = []
    for path in paths:
        try:
            decode(read_file(path), (8, 8))
            found.append(path)
        except UnreadableImage as error:
            logger.warning("%s is skipped: %s", path, error)
    if not found:
        raise UserError(
            f"source holds no picture that can be read, of {len(paths)} files such as {paths[0]}: give another source."
        )
    return found


def centre_views(paths: Sequence[Path], augmentation: Augmentation) -> Tensor:
    """The centre view of each image at the size of validation and test, uint8 [B, 3, S, S]."""
    seen = []
    for path in paths:
        data = read_file(path)
        whole = decode(data)
        shape = augmentation.shape(whole.height, whole.width)
        view = augmentation.centre(shape, augmentation.evaluation_size)
        seen.append(augmentation.cut(decode(data, shape).pixels, view))
    return torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)


def labels_by_folder(paths: Sequence[Path], classes: Sequence[str]) -> list[int | None]:
    """The class with the name of each image's folder; None where no class has it."""
    numbers = {name_or_key: at for at, name in enumerate(classes) for name_or_key in (class_key(name), name)}
    names = [path.resolve().parent.name for path in paths]
    return [numbers.get(name, numbers.get(class_key(name))) for name in names]
