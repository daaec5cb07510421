"""Classifies labelled photographs and writes how good the bundle is on them: what `fpcn check` does."""

from dataclasses import replace
from pathlib import Path

from fpcn_lightning.data.images import DEFAULT_LIMITS, ImageLimits, ImageReader
from fpcn_lightning.data.index import find
from fpcn_lightning.data.layout import published_folders
from fpcn_lightning.errors import UserError, WriteError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.checking.measures import CheckedPicture, CheckSummary
from fpcn_lightning.field.checking.write import CSV_NAME, PAGE_NAME, write_csv, write_page
from fpcn_lightning.field.classify import classify
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.predict import with_progress


def check(
    bundle: Path | str,
    source: Path | str,
    output: Path | str | None = None,
    *,
    file: str | None = None,
    batch_size: int = 8,
    threads: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> tuple[CheckSummary, Path]:
    """Classify labelled photographs, and write `index.html` and `check.csv`.

    Args:
        bundle: folder of the bundle.
        source: a folder of class folders, or a CSV or Excel file with the columns `path` and `label`, as for a
            training. Labels that the bundle does not know should be called unknown.
        output: folder of the results; None is the name of the bundle with `-check`, in the current folder.
        file: model file of the bundle; None is its default.
        batch_size: views that are computed together.
        threads: processor cores for the network; None uses all.
        overwrite: replace existing results.
        progress: show a progress bar on a terminal.
        limits: of each picture's file; one beyond them is unreadable.

    Returns:
        The summary, and the path of the page.

    Raises:
        UserError: a bundle, source or output that cannot be used; an unreadable picture is no error.
    """
    source, bundle = Path(source), Path(bundle)
    output = Path(f"{bundle.resolve().name}-check") if output is None else Path(output)
    _check_output(output, overwrite=overwrite)
    model = BundleModel(read_bundle(bundle), file, threads)
    classes = model.bundle.classes
    root = source.absolute()
    listed = find(root, published_folders(root), 1, classes)
    with ImageReader(limits) as reader:
        found = classify(model, [each.path for each in listed], batch_size=batch_size, reader=reader)
        pictures = [
            CheckedPicture(each.label, replace(prediction, viewed=None))  # activation maps are large
            for each, prediction in zip(listed, with_progress(found, len(listed), 0, progress), strict=True)
        ]
        summary = CheckSummary(classes, tuple(pictures), model.bundle.usability)
        try:
            output.mkdir(parents=True, exist_ok=True)
            write_csv(output / CSV_NAME, summary)
            page = write_page(output / PAGE_NAME, summary, model, source, reader)
        except OSError as error:
            raise WriteError.of(output, error) from error
    return summary, page


def _check_output(output: Path, *, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file: choose another folder with --output.")
    present = [name for name in (CSV_NAME, PAGE_NAME) if (output / name).exists()]
    if present and not overwrite:
        raise UserError(
            f"{output} already contains {' and '.join(present)}: choose another folder with --output, or pass "
            "--overwrite."
        )
