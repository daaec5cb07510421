"""The page of a run, written when it has ended in any way; without torch, which a run may fail before importing."""

import logging
from typing import TYPE_CHECKING

from PIL import Image

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.mistakes import SIDE, write_thumbnails
from fpcn_lightning.report.page_figure import failures_as_warnings
from fpcn_lightning.report.run_page import write_run_page
from fpcn_lightning.runs.predictions import PREDICTIONS_NAME
from fpcn_lightning.runs.recording import RunRecord

if TYPE_CHECKING:
    from fpcn_lightning.data.datamodule import RockDataModule

logger = logging.getLogger(__name__)


def leave_page(record: RunRecord, data: "RockDataModule | None") -> None:
    """Write the page of a run and its figures, to be called when its record has been written.

    What goes wrong here becomes a warning: the result is there, and `task=report runs=RUN` makes the page again.

    Args:
        record: of a run that ended in any way; other processes than the first write nothing.
        data: its images, for the pictures of the worst mistakes; None where it ended before they were known.
    """
    if not record.writes:
        return
    run = (record.folder, record.result)
    if data is not None and (record.folder / PREDICTIONS_NAME).exists():
        positions = {item.name: at for at, item in enumerate(data.index.pictures)}
        with failures_as_warnings("the pictures of the worst mistakes"):
            write_thumbnails(run, lambda name: _thumbnail(data, positions[name]))
    with failures_as_warnings(f"the page of {record.folder}"):
        write_run_page(run)


def _thumbnail(data: "RockDataModule", position: int) -> Image.Image | None:
    try:
        return data.thumbnail(position, SIDE)
    except UserError as error:
        logger.warning("a mistake is shown without its picture: %s", error)
        return None
