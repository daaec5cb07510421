"""A model that Python code works with: what `fpcn_lightning.load` returns."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from fpcn_lightning.data.files import with_home
from fpcn_lightning.data.images import DEFAULT_LIMITS, ImageLimits, ImageReader
from fpcn_lightning.errors import MissingPackage, UserError
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.predict import check_counts, prediction_rows, table_of
from fpcn_lightning.field.sources import PictureSource, read_source
from fpcn_lightning.field.usability import Usability

if TYPE_CHECKING:
    import pandas

Photographs = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""A photograph, a folder of photographs, a list (.csv, .xlsx) with a column `path`, or the paths of photographs."""


class LoadedModel:
    """A trained network, ready to classify photographs.

    Args:
        model: a model file of a bundle, or a checkpoint as one.

    Example:
        >>> model = fpcn_lightning.load("rocks-bundle")
        >>> model.classes
        ('basalt', 'dolomite', 'marble')
        >>> model.predict("photographs")[["path", "class_1", "probability_1"]]
    """

    def __init__(self, model: BundleModel) -> None:
        self._model = model

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of their numbers."""
        return self._model.bundle.classes

    @property
    def name(self) -> str:
        """Experiment and variant of the training."""
        return self._model.bundle.name

    @property
    def usability(self) -> Usability:
        """Whether the model may be relied on, with the reasons if not."""
        return self._model.bundle.usability

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {', '.join(self.classes)}>"

    def predict(
        self,
        photographs: Photographs,
        *,
        top: int = 3,
        coverage: float | None = None,
        batch_size: int = 8,
        recursive: bool = True,
        progress: bool = False,
        limits: ImageLimits = DEFAULT_LIMITS,
    ) -> "pandas.DataFrame":
        """Classify photographs, one row for each, with the columns that `fpcn predict` writes.

        Args:
            photographs: a photograph, a folder, a list with a column `path` whose other columns are kept, or the paths
                of photographs, of which each is classified once.
            top: classes that are named for each photograph.
            coverage: share of photographs whose prediction set must include the true class, one of those that the
                bundle was made with, such as 0.9; None makes no sets.
            batch_size: views that are computed together.
            recursive: include the folders in a folder.
            progress: show a progress bar on a terminal.
            limits: of each file; one beyond them is unreadable.

        Returns:
            The columns are `path`; `class_1`, `probability_1` and so on; `unknown`, true for a photograph unlike those
            of the training; `score`; `prediction_set`, a list, with `coverage`; `error`, why a file could not be read,
            which is no exception; and `not_usable`, the reasons, if the model is not usable. A cell without a value is
            missing by `pandas.isna`.

        Raises:
            UserError: pandas is missing, there is no such folder or list, or a number cannot be used.
        """
        MissingPackage.check("predict returns a pandas.DataFrame and", "pandas")
        import pandas

        check_counts(top=top, batch_size=batch_size)
        found = _source(photographs, recursive)
        table = table_of(self._model, found, top, coverage)
        with ImageReader(limits) as reader:
            rows = prediction_rows(
                self._model, found, table, reader, batch_size=batch_size, coverage=coverage, progress=progress
            )
            return pandas.DataFrame(list(rows), columns=table.columns)


def _source(photographs: Photographs, recursive: bool) -> PictureSource:
    if isinstance(photographs, str | os.PathLike):
        return read_source(Path(with_home(os.fspath(photographs))), recursive=recursive)
    paths = dict.fromkeys(Path(with_home(os.fspath(path))) for path in photographs)
    if not paths:
        raise UserError("there is no photograph to classify: the list of paths is empty.")
    return PictureSource(list(paths))
