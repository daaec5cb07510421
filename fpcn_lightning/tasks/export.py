"""`task=export`: export a checkpoint as a bundle that can be used in the field without PyTorch."""

from collections.abc import Callable
from pathlib import Path

from fpcn_lightning.config import Config
from fpcn_lightning.deploy import bundle
from fpcn_lightning.deploy.bundle_folder import check_replaceable, new_bundle_folder
from fpcn_lightning.errors import UserError
from fpcn_lightning.modules import checkpoints
from fpcn_lightning.modules.checkpoints import CheckpointRecord
from fpcn_lightning.runs.folders import bundle_folder
from fpcn_lightning.runs.invocation import Invocation
from fpcn_lightning.tasks.checkpoint_data import own_data
from fpcn_lightning.tasks.libraries import prepare_libraries


def run(config: Config, invocation: Invocation) -> None:  # noqa: ARG001 - the signature of all tasks
    """Write a bundle from `checkpoint` and the images that it was trained with, in the splits of the training.

    Raises:
        UserError: no checkpoint is given, it cannot be used, its images are missing or differ, or the bundle would be
            less accurate than the section `export` allows.
    """
    print(f"bundle: {export(config)}")


def export(config: Config, finish: Callable[[Path], object] = lambda _: None) -> Path:
    """Write a bundle; see `run`.

    Args:
        config: of the task.
        finish: called with the folder that holds all of the bundle, before that folder gets its final name.

    Returns:
        The folder of the bundle.

    Raises:
        UserError: as `run`.
    """
    if config.checkpoint is None:
        raise UserError("checkpoint is not set: pass the file to export, checkpoint=RUN/checkpoints/best.ckpt.")
    prepare_libraries()
    bundle.check_config(config.export)
    checkpoint = Path(config.checkpoint)
    loaded = checkpoints.load(checkpoint)
    folder = Path(config.export.bundle or _default_folder(config, loaded.record))
    check_replaceable(folder, overwrite=config.overwrite)
    data = own_data(config.data, loaded.record)
    with new_bundle_folder(folder) as new:
        bundle.write_bundle(new, loaded, checkpoint, data, config.export, evaluate_test=config.test)
        finish(new)
    return folder


def _default_folder(config: Config, record: CheckpointRecord) -> Path:
    return bundle_folder(Path(config.output), record.name, record.variant, record.seed)
