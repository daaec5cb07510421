"""A finished run is skipped only where its images are still those that it was trained and tested with."""

import logging
from pathlib import Path

from fpcn_lightning.config import DataConfig
from fpcn_lightning.errors import OTHER_IMAGES, UserError

logger = logging.getLogger(__name__)


def check_images(config: DataConfig, folder: Path) -> None:
    """Compare the images with those of the finished run in `folder`; where they cannot be read, say so and return.

    Raises:
        UserError: they have changed.
    """
    from fpcn_lightning.data.changes import changes
    from fpcn_lightning.runs.split_file import SPLIT_NAME

    if config.synthetic is not None or not (folder / SPLIT_NAME).is_file():
        return  # drawn images depend on the config alone
    try:
        found = changes(config, folder)
    except UserError as error:
        logger.warning("the images of %s could not be compared with those that it was trained with: %s", folder, error)
        return
    if found:
        raise UserError(
            f"{folder} {OTHER_IMAGES}: {', '.join(found)} since then. Run it again with overwrite=true, or name the "
            "new run with variant=NAME, or a whole sweep with name=NAME."
        )
