"""The images that a checkpoint was trained with, or others preprocessed in the same way."""

from dataclasses import replace

from fpcn_lightning import build
from fpcn_lightning.config import DataConfig, PublishedSplit
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.checkpoints import CheckpointRecord


def own_data(config: DataConfig, record: CheckpointRecord) -> RockDataModule:
    """The images of the training, which may have been moved to another folder, in the splits of the training.

    Args:
        config: section `data` of the config of this task, of which the folder, the cache and the workers are used.
        record: of the checkpoint.

    Raises:
        UserError: the images are missing, or differ from those of the training.
    """
    options = replace(record.data, cache=config.cache, workers=config.workers)
    if config.root is not None:
        options = replace(options, root=config.root, synthetic=None)
    data = build.datamodule(options, record.seed, classes=record.classes, trusted=False)
    data.prepare_data()
    if data.split.fingerprint != record.split:
        raise UserError(
            f"the images in {options.root or 'data.synthetic'} are not those that the checkpoint was trained with "
            f"(split {data.split.fingerprint}, not {record.split}), so its test images are not known: set "
            "data.root=PHOTOS to the unchanged folder of the training."
        )
    return data


def other_data(config: DataConfig, record: CheckpointRecord) -> RockDataModule:
    """The images below `config.root` as a test split, preprocessed as in the training."""
    split = replace(record.data.split, published=PublishedSplit())
    options = replace(
        record.data, cache=config.cache, workers=config.workers, root=config.root, synthetic=None, split=split
    )
    data = build.datamodule(options, record.seed, classes=record.classes, only_test=True, trusted=False)
    data.prepare_data()
    return data
