"""Lists the photographs with the packages that `fpcn` on a bundle needs, so that a wrong path fails before all else."""

from fpcn_lightning.data.index import ListedFile, find
from fpcn_lightning.data.layout import published_folders
from fpcn_lightning.quickstart.options import TrainOptions


def list_photographs(options: TrainOptions) -> list[ListedFile]:
    """The files, without reading them.

    Raises:
        UserError: there is no such folder, or it has no two classes.
    """
    return find(options.photographs, published_folders(options.photographs))
