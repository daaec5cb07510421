"""Pictures that somebody wants explained, as each network would see them."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fpcn_lightning.data.augment import Augmentation
from fpcn_lightning.data.images import UnreadableImage, decode, read_file
from fpcn_lightning.errors import UserError

logger = logging.getLogger(__name__)


def readable(paths: Sequence[Path]) -> list[Path]:
    """Those that are pictures; of the others a warning says why not.

    Raises:
        UserError: there is none.
    """
    found = []
    for path in paths:
        try:
            decode(read_file(path), (8, 8))
            found.append(path)
        except UnreadableImage as error:
            logger.warning("%s is left out: %s", path, error)
    if not found:
        raise UserError(f"source holds no picture that can be read: {paths[0]} and {len(paths) - 1} others.")
    return found


def middles(paths: Sequence[Path], augmentation: Augmentation) -> Tensor:
    """The middle of each picture as it is seen in test, uint8 [B, 3, S, S]."""
    seen = []
    for path in paths:
        data = read_file(path)
        whole = decode(data)
        shape = augmentation.shape(whole.height, whole.width)
        view = augmentation.centre(shape, augmentation.evaluation_side)
        seen.append(augmentation.cut(decode(data, shape).pixels, view))
    return torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)


def labels_by_folder(paths: Sequence[Path], classes: Sequence[str]) -> list[int | None]:
    """The class that each picture's folder is called after; None where it is called otherwise."""
    names = [path.resolve().parent.name for path in paths]
    return [classes.index(name) if name in classes else None for name in names]
