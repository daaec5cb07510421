"""Which images form a step: balanced batches for training, every image exactly once for validation and test.

Both sample whole batches: the loader runs with `batch_size=None` and the data set turns one `Step` into one batch, so
that the epoch is sent to the worker processes with the indices, and Lightning finds `set_epoch`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from fpcn_lightning.errors import UserError

ORDER_STREAM = 2  # keeps these draws apart from those of the augmentation under the same seed
TURNS = 1 << 32  # instead of a class number, keeps the order of the classes apart from those of their images
PADDING = -1  # fills the last batches, so that all ranks take the same number of steps; every metric ignores its rows


class Step(NamedTuple):
    """The images of one batch of one process; `epoch` is None outside training."""

    epoch: int | None
    images: tuple[int, ...]


class ClassOrder:
    """The endless order in which the images of one class are drawn.

    The order is one shuffled pass over the class after another, so every image is used before any is used again. A
    batch that contains the end of one pass and the start of the next still holds no image twice, as long as the class
    has `block` images: those that ended the old pass within the batch are moved behind the part of the new pass that
    is in the batch. A smaller class repeats its first order: each image comes back as late as possible, so that the
    part of one rank does not hold it twice either, as long as the class has enough images for that part.

    Args:
        images: the class's images.
        block: draws of one step over all ranks.
        seed: of the run.
        label: number of the class.
    """

    def __init__(self, images: Sequence[int], block: int, seed: int, label: int) -> None:
        self.images = np.sort(np.asarray(images, dtype=np.int64))
        self.block = block
        self.key = (ORDER_STREAM, seed, label)
        self.passes: list[NDArray[np.int64]] = []

    def step(self, number: int) -> NDArray[np.int64]:
        """The `block` images of global step `number`, a pure function of (seed, label, number)."""
        start, stop = number * self.block, (number + 1) * self.block
        size = len(self.images)
        drawn = [self._pass(index) for index in range(start // size, (stop - 1) // size + 1)]
        offset = start // size * size
        return np.concatenate(drawn)[start - offset : stop - offset]

    def _pass(self, index: int) -> NDArray[np.int64]:
        # Passes are made in order because each one depends on how the one before it ended.
        while len(self.passes) <= index:
            self.passes.append(self._next_pass(len(self.passes)))
        return self.passes[index]

    def _next_pass(self, index: int) -> NDArray[np.int64]:
        size = len(self.images)
        if index > 0 and size < self.block:
            return self.passes[-1]
        order = np.random.default_rng([*self.key, index]).permutation(self.images)
        begun = index * size % self.block  # draws of the batch at the boundary that the old pass has made
        if begun == 0:
            return order
        just_used = np.isin(order, self.passes[-1][-begun:])
        completing = order[~just_used][: self.block - begun]
        return np.concatenate([completing, order[~np.isin(order, completing)]])


class BalancedBatches(Sampler[Step]):
    """`samples_per_class` images of every class in every batch of every process.

    The order of draws depends on (seed, class) alone; each rank takes another part of each step's draws. So two
    processes with 7 images of a class each see in step k the same images as one process with 14.

    With `classes_per_batch`, a step holds that many of the classes. They take turns: between two draws of one class
    every other class is drawn once, so that batches are balanced over the steps.

    Args:
        labels: class number of every image in the data set.
        images: the images to draw from (the training split).
        classes: number of classes C.
        samples_per_class: of one process; its batch has `classes_per_batch` times as many.
        classes_per_batch: of one process; None takes all classes.
        epoch_length: steps of an epoch: `published` (as many as the authors' sampler yields, one less than are needed
            to draw as many images as there are), `longest_class` (every image of the largest class once), or a number.
        seed: of the run.
        rank, world_size: this process and how many there are.
        further: images of this process in a global step that are put behind those of the classes.

    Raises:
        UserError: a class without images, or an invalid epoch length.
    """

    def __init__(
        self,
        labels: Sequence[int],
        images: Sequence[int],
        *,
        classes: int,
        samples_per_class: int,
        classes_per_batch: int | None = None,
        epoch_length: str | int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        further: Callable[[int], Sequence[int]] | None = None,
    ) -> None:
        if samples_per_class < 1:
            raise UserError(f"data.samples_per_class={samples_per_class} must be at least 1.")
        by_class: list[list[int]] = [[] for _ in range(classes)]
        for image in images:
            by_class[labels[image]].append(image)
        if not all(by_class):
            raise UserError(f"class number {by_class.index([])} has no training image: a balanced batch needs one.")
        self.classes, self.turns, self.further = classes, None, further
        drawn = classes if classes_per_batch is None else min(classes, classes_per_batch)
        if drawn < classes:
            self.turns = ClassOrder(range(classes), drawn, seed, TURNS)
        block = samples_per_class * world_size
        self.orders = [ClassOrder(members, block, seed, label) for label, members in enumerate(by_class)]
        self.part = slice(rank * samples_per_class, (rank + 1) * samples_per_class)
        self.steps = _steps(epoch_length, [len(members) for members in by_class], block * drawn)
        self.epoch = 0
        self.resumed = (0, 0)  # an epoch, and the number of its steps that are skipped

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before an epoch is iterated."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Step]:
        epoch, steps = self.resumed
        first = steps if epoch == self.epoch else 0
        for step in range(self.epoch * self.steps + first, (self.epoch + 1) * self.steps):
            parts = [self.orders[label].step(number)[self.part] for label, number in self._draws(step)]
            further = () if self.further is None else self.further(step)
            yield Step(self.epoch, (*(int(image) for image in np.concatenate(parts)), *further))

    def _draws(self, step: int) -> list[tuple[int, int]]:
        """The classes of global step `step`, each with the number of its draws before."""
        if self.turns is None:
            return [(label, step) for label in range(self.classes)]
        labels, first = self.turns.step(step), step * self.turns.block
        # Every class is drawn once in each pass over the classes.
        return sorted((int(label), (first + at) // self.classes) for at, label in enumerate(labels))


class EveryImageOnce(Sampler[Step]):
    """All `images` in order, divided between the ranks; the last batches are filled with `PADDING`.

    Every rank takes the same number of batches of the same size, because collective operations inside a step would
    otherwise wait for ever; every metric ignores the padding rows.
    """

    def __init__(self, images: Sequence[int], batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1:
            raise UserError(f"data.evaluation_batch_size={batch_size} must be at least 1.")
        stride = batch_size * world_size
        padded = [*images, *[PADDING] * (-len(images) % stride)]
        self.batches = [
            tuple(padded[start + rank * batch_size : start + (rank + 1) * batch_size])
            for start in range(0, len(padded), stride)
        ]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Step]:
        return (Step(None, batch) for batch in self.batches)


def batch_shape(samples: int, classes: int, largest: int | None) -> tuple[int, int]:
    """Images of a class, and classes, in a batch of at most `largest` images.

    First there are fewer images of each class, down to two, then fewer classes.
    """
    if largest is None or samples * classes <= largest:
        return samples, classes
    fewer = max(largest // classes, min(samples, 2))
    return fewer, min(classes, max(1, largest // fewer))


def _steps(epoch_length: str | int, sizes: Sequence[int], drawn: int) -> int:
    """Steps of an epoch, for classes of these sizes and this number of images a step, those of all processes."""
    if epoch_length == "published":
        return max(1, -(-sum(sizes) // drawn) - 1)
    if epoch_length == "longest_class":
        return -(-max(sizes) * len(sizes) // drawn)
    if isinstance(epoch_length, str) or epoch_length < 1:
        raise UserError(f"data.epoch_length={epoch_length} must be published, longest_class or a number of steps.")
    return epoch_length
