"""Classifies a file, a folder or a list of photographs and writes a file of results: what `fpcn predict` does."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from tqdm import tqdm

from fpcn_lightning.data.images import DEFAULT_LIMITS, ImageLimits, ImageReader
from fpcn_lightning.errors import UserError, WriteError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import Prediction, classify
from fpcn_lightning.field.journal import Journal
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.results import PredictionTable, TableRow, shown
from fpcn_lightning.field.sources import PictureSource, read_source
from fpcn_lightning.field.usability import USABLE, Usability

DEFAULT_OUTPUT = "predictions.csv"


@dataclass(frozen=True)
class PredictionSummary:
    """How many pictures were classified, and as what.

    Attributes:
        output: the file of results.
        classes: number of pictures of each predicted class, the most frequent first, without those that are unknown.
        unknown: number of pictures unlike those that the network was trained with.
        unreadable: number of files without a prediction; the column `error` says why.
        usability: of the model.
    """

    output: Path
    classes: dict[str, int]
    unknown: int
    unreadable: int
    usability: Usability = USABLE

    @property
    def pictures(self) -> int:
        """All of them."""
        return sum(self.classes.values()) + self.unknown + self.unreadable


def predict(
    bundle: Path | str,
    source: Path | str,
    output: Path | str = DEFAULT_OUTPUT,
    *,
    file: str | None = None,
    top: int = 3,
    coverage: float | None = None,
    batch_size: int = 8,
    threads: int | None = None,
    recursive: bool = True,
    overwrite: bool = False,
    progress: bool = False,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> PredictionSummary:
    """Classify pictures and write each prediction as soon as it is made; an interrupted run is resumed.

    Args:
        bundle: folder of the bundle.
        source: a picture, a folder of pictures, or a CSV or Excel file with a column `path`, whose other columns are
            kept.
        output: file of results, .csv, .jsonl, .json or .parquet; `fpcn_lightning.field.results.PredictionTable`
            describes the columns, and `fpcn_lightning.field.journal` how a run is resumed.
        file: model file of the bundle; None is its default.
        top: classes that are named for each picture.
        coverage: share of pictures whose prediction set must include the true class; None makes no sets.
        batch_size: views that are computed together.
        threads: processor cores for the network; None uses all.
        recursive: include the folders in a folder.
        overwrite: replace existing results.
        progress: show a progress bar on a terminal.
        limits: of each picture's file; one beyond them is unreadable.

    Raises:
        UserError: a bundle, source, output or number that cannot be used; an unreadable picture is no error.
    """
    check_counts(top=top, batch_size=batch_size, threads=threads or 1)
    source, output = Path(source), Path(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise UserError(f"{output} is the source itself: choose another file for the results.")
    found = read_source(source, recursive=recursive)
    model = BundleModel(read_bundle(Path(bundle)), file, threads)
    table = table_of(model, found, top, coverage)
    settings = {
        "bundle": model.bundle.digest,
        "file": model.file,
        "source": [shown(source), shown(source.absolute())],  # rows have paths relative to the source as it was passed
        "recursive": recursive,
        "columns": table.columns,
        "coverage": coverage,
        "quantile": model.quantile(coverage),
    }
    try:
        with ImageReader(limits) as reader, Journal(output, table.columns, settings, overwrite=overwrite) as journal:
            counts = Counter(map(_category, journal.earlier))
            done = {str(row["path"]) for row in journal.earlier}
            rows = prediction_rows(
                model, found, table, reader, done=done, batch_size=batch_size, coverage=coverage, progress=progress
            )
            for row in rows:
                journal.write(row)
                counts[_category(row)] += 1
    except OSError as error:
        raise WriteError.of(output, error) from error
    classes = {name: count for name, count in counts.most_common() if isinstance(name, str)}
    unknown, unreadable = counts[_NoClass.UNKNOWN], counts[_NoClass.UNREADABLE]
    return PredictionSummary(output, classes, unknown, unreadable, model.bundle.usability)


def check_counts(**counts: int) -> None:
    """Raise a UserError for an option that is below 1, by its name."""
    for name, number in counts.items():
        if number < 1:
            raise UserError(f"{name}={number} must be at least 1.")


def table_of(model: BundleModel, found: PictureSource, top: int, coverage: float | None) -> PredictionTable:
    """The table of the predictions of a model for the pictures of a source; see `predict`."""
    return PredictionTable(
        model.bundle.classes,
        top,
        sets=coverage is not None,
        others=found.columns,
        not_usable="; ".join(model.bundle.usability.reasons),
    )


def prediction_rows(
    model: BundleModel,
    found: PictureSource,
    table: PredictionTable,
    reader: ImageReader,
    *,
    done: Collection[str] = (),
    batch_size: int = 8,
    coverage: float | None = None,
    progress: bool = False,
) -> Iterator[TableRow]:
    """The row of each picture of a source, in its order, without those whose path in the table is in `done`."""
    pending = [path for path in found.paths if shown(path) not in done]
    predictions = classify(model, pending, batch_size=batch_size, coverage=coverage, reader=reader)
    total = len(found.paths)
    for prediction in with_progress(predictions, total, total - len(pending), progress):
        yield table.row(prediction, found.cells.get(prediction.path, ()))


class _NoClass(Enum):
    UNKNOWN = auto()
    UNREADABLE = auto()


def _category(row: Mapping[str, object]) -> str | _NoClass:
    """The class that a row names, or why it names none; rows from a CSV are all text."""
    if row["error"]:
        return _NoClass.UNREADABLE
    return _NoClass.UNKNOWN if row["unknown"] in (True, "true") else str(row["class_1"])


def with_progress(predictions: Iterable[Prediction], total: int, done: int, progress: bool) -> Iterable[Prediction]:
    """The predictions, with a bar of `total` pictures that begins at `done`, if `progress` and there is a terminal."""
    # Without a terminal there is no bar.
    return tqdm(predictions, "classifying", total, initial=done, unit="picture", disable=None if progress else True)
