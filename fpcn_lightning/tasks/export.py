"""`task=export`: a checkpoint becomes a bundle that the field can use without PyTorch."""

import logging
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fpcn_lightning import build
from fpcn_lightning.config import ExportConfig
from fpcn_lightning.errors import UserError
from fpcn_lightning.library_warnings import quiet_libraries
from fpcn_lightning.runs.recording import check_names
from fpcn_lightning.tasks.own_pictures import own_pictures

logger = logging.getLogger(__name__)


def run(cfg: DictConfig) -> None:
    """Write a bundle from `checkpoint` and the pictures that it was trained with, on the sides that they had then.

    Raises:
        UserError: no checkpoint is given, it cannot be used, its pictures are gone or others, or the bundle would be
            worse than the section `export` allows.
    """
    if cfg.checkpoint is None:
        raise UserError("checkpoint is not set: give the file to export, checkpoint=RUN/checkpoints/best.ckpt.")
    from fpcn_lightning.deploy import bundle
    from fpcn_lightning.deploy.bundle_folder import check_replaceable, new_bundle_folder
    from fpcn_lightning.modules import checkpoints

    quiet_libraries()
    section = build.plain(cfg)
    options = ExportConfig(**section["export"])
    bundle.check_config(options)
    checkpoint = Path(cfg.checkpoint)
    loaded = checkpoints.load(checkpoint)
    folder = Path(options.bundle or _default_folder(Path(cfg.output), loaded.record))
    check_replaceable(folder, overwrite=cfg.overwrite)
    data = own_pictures(section["data"], loaded.record)
    with new_bundle_folder(folder) as place:
        bundle.write_bundle(place, loaded, checkpoint, data, options, evaluate_test=cfg.test)
    print(f"bundle: {folder}")


def _default_folder(output: Path, record: dict[str, Any]) -> Path:
    check_names(record["name"], record["variant"])
    return output / "bundles" / f"{record['name']}-{record['variant']}-seed-{int(record['seed'])}"
