"""The stored logits of a teacher for the views of a training: one store for each network that it consists of."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.logits_store import LogitsStore, store_name
from fpcn_lightning.data.pictures import Batch
from fpcn_lightning.losses.distillation import mean_prediction
from fpcn_lightning.modules.teacher import TeacherModel

logger = logging.getLogger(__name__)

# Keys of an augmentation that change no training view; the crop of evaluation does, where tiles must fit an image.
ONLY_IN_EVALUATION = ("max_tiles", "mirrored_views")
# Stores of trainings without these options are named as before there were any.
ADDED_LATER = {"saturation": 0.0, "crop_scale": (1.0, 1.0), "quarter_turns": False}
FUNCTIONS = "further"  # an augmentation's key of functions, which the config describes


class TeacherMember(NamedTuple):
    """A network of a teacher, what identifies it, and a description of it for records."""

    model: TeacherModel
    digest: str
    lineage: dict[str, Any]


@dataclass(frozen=True)
class TaughtImages:
    """Images that a student learns from with a teacher.

    Attributes:
        key: identifies them, in the key of a store.
        count: number N of images.
        views: their views in an epoch, each once, in a fixed order.
    """

    key: Mapping[str, Any]
    count: int
    views: Callable[[int], Iterable[Batch]]


class TeacherLogits:
    """Logits of a teacher for every image in every epoch.

    Each network has a store of its own for each set of images, so that an ensemble shares the stores of its members
    with other ensembles, and students with further images share those of the students without.

    Args:
        members: of the teacher, at least one.
        images: the sets of images, in the order of the rows of `epoch`.
        folder: of the stores, each in a folder of its own. A single one may be the folder itself, see `own_folder`.
        views: what the views of all images depend on besides the images, as plain data.
        classes: number C of classes.
        own_folder: use `folder` itself where there is one store.

    Raises:
        UserError, WriteError: raised by `LogitsStore`.
    """

    def __init__(
        self,
        members: Sequence[TeacherMember],
        images: Sequence[TaughtImages],
        folder: Path,
        views: Mapping[str, Any],
        classes: int,
        *,
        own_folder: bool = False,
    ) -> None:
        self._members, self._images = members, images
        alone = own_folder and len(members) == len(images) == 1
        self._stores: list[list[LogitsStore]] = []  # of each set of images, of each member
        for each in images:
            keys = [{"teacher": member.digest, **each.key, "views": dict(views)} for member in members]
            self._stores.append(
                [LogitsStore(folder if alone else folder / store_name(key), key, each.count, classes) for key in keys]
            )
        self._opened: dict[int, NDArray[np.float32]] = {}

    @property
    def folders(self) -> list[Path]:
        """Where the stores are."""
        return [store.folder for stores in self._stores for store in stores]

    @property
    def images(self) -> int:
        """The number N of images of all sets."""
        return sum(each.count for each in self._images)

    def epoch(self, number: int) -> NDArray[np.float32]:
        """The logits [N, C] of the images of all sets in epoch `number`.

        Raises:
            UserError: they are missing or damaged.
        """
        if number not in self._opened:
            parts = [_mean([store.epoch(number) for store in stores]) for stores in self._stores]
            self._opened = {number: parts[0] if len(parts) == 1 else np.concatenate(parts)}
        return self._opened[number]

    def fill(self, epochs: int, device: torch.device) -> None:
        """Compute and store the logits of the first `epochs` epochs that are not stored yet.

        Raises:
            UserError, WriteError: raised by `LogitsStore.fill`.
        """
        wanted = [
            (member, images, store)
            for images, stores in zip(self._images, self._stores, strict=True)
            for member, store in zip(self._members, stores, strict=True)
        ]
        total = epochs * len(wanted)
        stored = sum(store.has(epoch) for _, _, store in wanted for epoch in range(epochs))
        with tqdm(total=total, initial=stored, unit="epoch", desc="teacher's logits", disable=stored == total) as bar:
            for member, images, store in wanted:
                _fill(store, epochs, member.model, images, device, lambda _: bar.update())
        if stored < total:
            logger.info("the teacher's logits of %d epochs are in %s", epochs, ", ".join(map(str, self.folders)))


def views_key(data: RockDataModule) -> dict[str, Any]:
    """What the training views of images depend on besides the images, as plain data."""
    augmentation, further = data.augmentation, data.config.augmentations
    return {
        "rule": type(augmentation).__name__,
        "seed": data.view_seed,
        **{
            name: value
            for name, value in asdict(augmentation).items()
            if name not in (*ONLY_IN_EVALUATION, FUNCTIONS) and (name not in ADDED_LATER or value != ADDED_LATER[name])
        },
        **({"augmentations": further} if further else {}),
    }


def _fill(
    store: LogitsStore,
    epochs: int,
    model: TeacherModel,
    images: TaughtImages,
    device: torch.device,
    progress: Callable[[int], object],
) -> None:
    def logits(epoch: int) -> NDArray[np.float32]:
        return np.concatenate([model.logits(batch.images.to(device)).cpu().numpy() for batch in images.views(epoch)])

    store.fill(epochs, logits, progress)


def _mean(logits: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The logits [N, C] of an ensemble; those of a single network as they are, in its file."""
    if len(logits) == 1:
        return logits[0]
    return mean_prediction([torch.from_numpy(np.array(each)) for each in logits]).numpy()
