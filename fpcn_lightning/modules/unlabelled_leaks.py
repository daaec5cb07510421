"""Which photographs without a class are near copies of validation or test photographs, by the code of the audit."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.audit.candidates import find_candidates
from fpcn_lightning.audit.descriptors import PROBE, describe, whole_grey
from fpcn_lightning.audit.matching import verified
from fpcn_lightning.data.augment import Squashing
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.feature_store import Features, stored_features
from fpcn_lightning.data.index import IndexedImage
from fpcn_lightning.data.pictures import RockPictures
from fpcn_lightning.data.preparation import image_limits
from fpcn_lightning.data.sampler import PADDING
from fpcn_lightning.data.samples import Sample
from fpcn_lightning.data.unlabelled import LeftOut, UnlabelledImages, different, read_unlabelled, training_views
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.modules.probing import weights_hash


def find_unlabelled(place: str, share: float, data: RockDataModule, network: OnBackbone) -> UnlabelledImages:
    """The photographs at a place that a student may learn from without their class.

    Those that are equal to others, and near copies of validation and test photographs, are left out.

    Args:
        place: a folder or a list; see `read_unlabelled`.
        share: of a batch.
        data: of the student, after `setup`.
        network: its backbone describes the photographs.

    Raises:
        UserError: there are none, or none is left.
    """
    index, cache = read_unlabelled(place, data.config, data.augmentation)
    found, left_out = different(index, data.index.pictures)
    evaluated = [data.index.pictures[position] for position in (*data.split.val, *data.split.test)]
    copied = near_copies_of(found, evaluated, data, network)
    kept = [image for image, twin in zip(found, copied, strict=True) if twin is None]
    left_out += [
        LeftOut(image.name, f"near copy of {twin.name}, which is validated or tested on")
        for image, twin in zip(found, copied, strict=True)
        if twin is not None
    ]
    if not kept:
        raise UserError(
            f"distillation.unlabelled={place}: none of the {len(left_out)} photographs can be used, such as "
            f"{left_out[0].name} ({left_out[0].reason}): pass others."
        )
    views = training_views(kept, index, cache, data.config, data.augmentation, data.view_seed)
    return UnlabelledImages(kept, views, left_out, share)


def near_copies_of(
    images: Sequence[IndexedImage], others: Sequence[IndexedImage], data: RockDataModule, network: OnBackbone
) -> list[IndexedImage | None]:
    """For each of `images`, one of `others` that is the same photograph, wholly or in part; None where there is none.

    What is found is stored in the cache.

    Args:
        images: to be looked for.
        others: to be looked through.
        data: whose cache and limits are used.
        network: its backbone describes all of them.
    """
    if not images or not others:
        return [None] * len(images)
    key = {
        "near copies": 1,
        "backbone": weights_hash(network.backbone),
        "images": [image.digest for image in images],
        "others": [image.digest for image in others],
    }
    found = stored_features(data.cache_directory, key, lambda: _found(images, others, data, network))
    return [others[int(place)] if place >= 0 else None for place in found]


def _found(
    images: Sequence[IndexedImage], others: Sequence[IndexedImage], data: RockDataModule, network: OnBackbone
) -> Features:
    """The place of a copy among `others` for each of `images`, float32 [N]; -1 where there is none."""
    everything = [*images, *others]
    samples = [Sample(image.path, PADDING, at, (PROBE, PROBE), 0) for at, image in enumerate(everything)]
    views = Squashing(crop=PROBE, resize=PROBE)
    pictures = RockPictures(samples, views, 0, None, image_limits(data.config))
    training = network.training
    descriptors = describe(network, pictures, np.arange(len(everything)))
    network.train(training)
    side = np.arange(len(everything)) < len(images)

    places: NDArray[np.float32] = np.full(len(images), -1, np.float32)
    for match in verified(find_candidates(descriptors, apart=side), descriptors.grey, partial(whole_grey, pictures)):
        image, other = sorted((match.crop, match.scene))
        places[image] = other - len(images)
    return places
