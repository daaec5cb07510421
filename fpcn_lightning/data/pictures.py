"""From images to batches: the views of the images of a step, read through the cache."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from fpcn_lightning.data.augment import Augmentation, View
from fpcn_lightning.data.cache import PictureCache
from fpcn_lightning.data.images import DEFAULT_LIMITS, ImageLimits, UnreadableImage, read_resized
from fpcn_lightning.data.sampler import PADDING, Step
from fpcn_lightning.data.samples import Sample
from fpcn_lightning.errors import UserError


class Batch(NamedTuple):
    """Views of images, not normalised: each network has its own mean and standard deviation."""

    images: Tensor  # uint8 [B, 3, crop, crop], channels last in memory
    labels: Tensor  # long [B]; -1 in a row of padding
    positions: Tensor  # long [B], of the image in the index, the same for all its tiles; -1 in a row of padding


BatchRow = tuple[int, View | None]  # the position of its image, and its view; PADDING and None in a row of padding


class RockPictures(Dataset[Batch]):
    """One `Step` in, one `Batch` out: a random view of each image in training, all its views otherwise.

    The views of one image are consecutive rows. An image with fewer views than another is filled up with padding, so
    that every process of a distributed run has the same number of rows.

    Args:
        pictures: by position in the index.
        augmentation: how views are drawn.
        seed: of the views.
        cache: of the whole images; None decodes them each time.
        limits: of the images that are decoded.

    Attributes:
        rows_a_picture: number of rows of each image in validation and test.
    """

    def __init__(
        self,
        pictures: Sequence[Sample],
        augmentation: Augmentation,
        seed: int,
        cache: PictureCache | None,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        self.pictures = pictures
        self.augmentation = augmentation
        self.seed = seed
        self.cache = cache
        self.limits = limits
        shapes = {picture.shape for picture in pictures}
        self.rows_a_picture = max((len(augmentation.evaluation_views(shape)) for shape in shapes), default=1)

    def __getitem__(self, step: Step) -> Batch:
        rows = [row for position in step.images for row in self._rows(position, step.epoch)]
        return self._batch(rows, self.augmentation.evaluation_size if step.epoch is None else self.augmentation.crop)

    def centres(self, positions: Sequence[int]) -> Batch:
        """The centre view of each image, one row each, also where validation and test see tiles: for figures."""
        side = self.augmentation.evaluation_size
        return self._batch([(at, self.augmentation.centre(self.pictures[at].shape, side)) for at in positions], side)

    def _batch(self, rows: Sequence[BatchRow], side: int) -> Batch:
        positions = [position for position, _ in rows]
        labels = [self.pictures[position].label if position != PADDING else PADDING for position in positions]
        images = _empty((len(rows), side, side, 3))
        last, whole = PADDING, None
        for image, (position, view) in zip(images, rows, strict=True):
            if view is None:
                image.zero_()
                continue
            if whole is None or position != last:  # the views of one image are consecutive
                last, whole = position, self.whole(position)
            self._fill(image, whole, view)
        return Batch(images.permute(0, 3, 1, 2), torch.tensor(labels), torch.tensor(positions))

    def _fill(self, image: Tensor, whole: NDArray[np.uint8], view: View) -> None:
        """Write `view` of a whole image into `image` [S, S, 3]: what `Augmentation.seen` returns.

        torch mirrors and turns several times as fast as NumPy copies an array with such strides.
        """
        augmentation = self.augmentation
        upright = augmentation.cut(whole, view._replace(flipped=False, turns=0))
        part = _oriented(torch.from_numpy(upright), view)
        if augmentation.changes(view):
            own = part.clone() if part.data_ptr() == upright.ctypes.data else part
            part = torch.from_numpy(augmentation.changed(own.numpy(), view, whole.shape[:2]))
        image.copy_(part)

    def _rows(self, position: int, epoch: int | None) -> list[BatchRow]:
        """The rows of one image in a step, filled up with padding to the same number for every image."""
        views = self._views(position, epoch)
        count = self.rows_a_picture if epoch is None else 1
        return [*((position, view) for view in views), *[(PADDING, None)] * (count - len(views))]

    def _views(self, position: int, epoch: int | None) -> Sequence[View]:
        if position == PADDING:
            return ()
        picture = self.pictures[position]
        if epoch is None:
            return self.augmentation.evaluation_views(picture.shape)
        return (self.augmentation.draw(picture.shape, self.seed, epoch, picture.key),)

    def whole(self, position: int) -> NDArray[np.uint8]:
        """The whole image at `position`, uint8 [H, W, 3], that its views are cut from."""
        picture = self.pictures[position]

        def decode() -> NDArray[np.uint8]:
            try:
                return read_resized(picture.path, self.augmentation.square or picture.shape, self.limits)
            except UnreadableImage as error:
                raise UserError(
                    f"{picture.path} could be read when the run began, but not any more ({error}): put it back, or "
                    "start the run again without it."
                ) from error

        return decode() if self.cache is None else self.cache.get(picture.cached, decode)


def _empty(shape: tuple[int, ...]) -> Tensor:
    """A uint8 tensor to be filled; in a worker in shared memory, where torch would copy it to."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    # As in torch's `default_collate`.
    shared: torch.UntypedStorage = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(shared).view(shape)


def _oriented(pixels: Tensor, view: View) -> Tensor:
    """Pixels [S, S, 3] mirrored and turned as `Augmentation.cut` does; the same memory where neither is done."""
    planes = pixels.permute(2, 0, 1)
    if view.flipped:
        planes = planes.flip(2)
    if view.turns:
        planes = planes.rot90(view.turns, (1, 2))
    return planes.permute(1, 2, 0)
