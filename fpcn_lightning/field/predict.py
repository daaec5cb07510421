"""Classify a file, a folder or a list of photographs into a file of results: what `fpcn predict` does."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from tqdm import tqdm

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.classify import Prediction, classify
from fpcn_lightning.field.journal import Journal
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.results import Table, shown
from fpcn_lightning.field.sources import find_pictures

DEFAULT_OUTPUT = "predictions.csv"


@dataclass(frozen=True)
class Summary:
    """What became of the pictures.

    Attributes:
        output: the file of results.
        classes: how many pictures were named each class, the most frequent first, without those that are unknown.
        unknown: pictures unlike those that the network was trained with.
        unreadable: files that gave no answer; the column `error` says why.
    """

    output: Path
    classes: dict[str, int]
    unknown: int
    unreadable: int

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
) -> Summary:
    """Classify pictures and write the answers as they come; a run that was cut off goes on.

    Args:
        bundle: folder of the bundle.
        source: a picture, a folder of pictures, or a CSV file with a column `path`.
        output: file of results, .csv, .jsonl, .json or .parquet; `fpcn_lightning.field.results.Table` describes the
            columns and `fpcn_lightning.field.journal` how a run goes on.
        file: model file of the bundle; None takes its default.
        top: classes that are named for each picture.
        coverage: share of pictures whose prediction set shall hold the true class; None asks for no sets.
        batch_size: views that are computed together.
        threads: processor cores for the network; None takes all.
        recursive: look into the folders below a folder, too.
        overwrite: replace results that are there.
        progress: show a bar on a terminal.

    Raises:
        UserError: a bundle, source, output or number that cannot be used; an unreadable picture is no error.
    """
    for name, number in (("top", top), ("batch_size", batch_size), ("threads", threads or 1)):
        if number < 1:
            raise UserError(f"{name}={number} must be at least 1.")
    source, output = Path(source), Path(output)
    if output.exists() and source.exists() and output.samefile(source):
        raise UserError(f"{output} is the source itself: name another file for the results.")
    paths = find_pictures(source, recursive=recursive)
    model = BundleModel(read_bundle(Path(bundle)), file, threads)
    table = Table(model.bundle.classes, top, sets=coverage is not None)
    task = {
        "bundle": model.bundle.digest,
        "file": model.file,
        "source": [shown(source), shown(source.absolute())],  # rows name pictures as the source was named
        "recursive": recursive,
        "columns": table.columns,
        "coverage": coverage,
        "quantile": model.quantile(coverage),
    }
    try:
        with Journal(output, table.columns, task, overwrite=overwrite) as journal:
            fates = Counter(map(_fate, journal.earlier))
            done = {row["path"] for row in journal.earlier}
            waiting = [path for path in paths if shown(path) not in done]
            predictions = classify(model, waiting, batch_size=batch_size, coverage=coverage)
            for prediction in _watched(predictions, len(paths), len(paths) - len(waiting), progress):
                row = table.row(prediction)
                journal.write(row)
                fates[_fate(row)] += 1
    except OSError as error:
        raise UserError(
            f"{output} cannot be written ({error.strerror or error}): make room, or name another file."
        ) from error
    classes = {name: count for name, count in fates.most_common() if isinstance(name, str)}
    return Summary(output, classes, fates[_Fate.UNKNOWN], fates[_Fate.UNREADABLE])


class _Fate(Enum):
    UNKNOWN = auto()
    UNREADABLE = auto()


def _fate(row: Mapping[str, object]) -> str | _Fate:
    """The class that a row names, or why it names none; rows out of a CSV hold nothing but texts."""
    if row["error"]:
        return _Fate.UNREADABLE
    return _Fate.UNKNOWN if row["unknown"] in (True, "true") else str(row["class_1"])


def _watched(predictions: Iterable[Prediction], total: int, done: int, progress: bool) -> Iterable[Prediction]:
    # Without a terminal there is no bar.
    return tqdm(predictions, "classifying", total, initial=done, unit="picture", disable=None if progress else True)
