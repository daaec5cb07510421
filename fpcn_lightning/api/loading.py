"""`fpcn_lightning.load`: a bundle without PyTorch, a checkpoint or the folder of a run with it."""

import os
from pathlib import Path

from fpcn_lightning.data.files import with_home
from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.demo import resolved
from fpcn_lightning.field.loaded import LoadedModel
from fpcn_lightning.field.manifest import MANIFEST_NAME
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.runs.results import RESULT_NAME, read_result

__all__ = ["LoadedModel", "load"]


def load(path: str | os.PathLike[str], *, file: str | None = None, threads: int | None = None) -> LoadedModel:
    """Load a trained model.

    Args:
        path: the folder of a bundle, which `fpcn train` or `task=export` wrote and which needs no PyTorch; a checkpoint
            (`.ckpt`); or the folder of a training, whose best checkpoint is used. A checkpoint is not calibrated: see
            `LoadedModel.usability`. `demo` is the installed bundle.
        file: model file of a bundle, such as `model.int8.onnx`; None is its default.
        threads: processor cores for the network of a bundle; None uses all.

    Raises:
        UserError: there is no such model, it is damaged, or packages are missing that it needs.

    Example:
        >>> import fpcn_lightning
        >>> model = fpcn_lightning.load("photographs-model")
        >>> table = model.predict("new-photographs")
    """
    place = resolved(Path(with_home(os.fspath(path))))
    if not place.exists():
        raise UserError(f"{place} does not exist: pass the folder of a bundle or of a training, or a checkpoint.")
    if (place / MANIFEST_NAME).is_file():
        return LoadedModel(BundleModel(read_bundle(place), file, threads))
    checkpoint = _checkpoint(place)
    if file is not None:
        raise UserError(f"file={file}: only a bundle has several model files, and {place} is none.")
    alternative = ", or load the bundle that task=export makes of it"
    MissingPackage.check(f"{place} is no bundle but a training, which", "train", alternative)
    from fpcn_lightning.deploy.checkpoint_model import CheckpointModel

    return LoadedModel(CheckpointModel(checkpoint))


def _checkpoint(place: Path) -> Path:
    """The checkpoint at a place that is no bundle."""
    if place.is_file():
        return place
    if not (place / RESULT_NAME).is_file():
        raise UserError(
            f"{place} has neither {MANIFEST_NAME}, as a bundle has, nor {RESULT_NAME}, as a training has: pass such a "
            "folder, or a checkpoint."
        )
    best = read_result(place / RESULT_NAME)["checkpoint"]
    if best is None:
        raise UserError(f"{place} has no checkpoint yet: its training is not finished, or has failed.")
    return place / best
