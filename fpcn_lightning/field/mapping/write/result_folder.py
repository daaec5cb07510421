"""The folder of a map: its files, its lock, and the rule that nothing is replaced by accident."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.concurrency import acquire_output_lock, release_output_lock
from fpcn_lightning.field.mapping.classify.prediction_store import KEY, store_files
from fpcn_lightning.runs.atomic_write import leftovers

CLASS_MAP, CONFIDENCE_MAP, OVERVIEW = "class_map.tif", "confidence_map.tif", "overview.png"
AREAS, GRAINS, CONTACTS, GRAIN_SIZES = "areas.csv", "grains.csv", "contacts.csv", "grain_sizes.csv"
SIZE_FIGURE, FACTS, SUMMARY, PAGE = "grain_sizes.png", "map.json", "summary.txt", "index.html"
OUTLINES, OUTLINES_QGIS, STYLE = "grains.geojson", "grains_qgis.geojson", "class_map.qml"
RESULTS = (
    *(CLASS_MAP, CONFIDENCE_MAP, OVERVIEW, AREAS, GRAINS, CONTACTS, GRAIN_SIZES, SIZE_FIGURE, FACTS),
    *(SUMMARY, PAGE, OUTLINES, OUTLINES_QGIS, STYLE),
)
UNFINISHED = ".fpcn-map-unfinished"


@contextlib.contextmanager
def result_folder(output: Path, section: Path, *, overwrite: bool) -> Iterator[Path]:
    """Lock `output` for this process, and yield a folder in it for the predictions of an unfinished map.

    That folder, for `fpcn_lightning.field.mapping.classify.prediction_store.PredictionStore`, is removed when the block
    ends without an error: the map is then finished. A run can be resumed if the folder has a key.

    Raises:
        UserError: there is a finished map, or another process writes there, or the folder cannot be made; or files of
            the user would be lost: the section itself, or files in the folder of the predictions.
    """
    unfinished = output / UNFINISHED
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output} cannot be made ({error.strerror}): choose another folder with --output.") from error
    lock = acquire_output_lock(output / ".lock", output, "folder")
    try:
        _check_store(unfinished)
        _check_section(output, section)
        for path in _temporary_results(output):
            path.unlink()
        if overwrite:
            for name in RESULTS:
                (output / name).unlink(missing_ok=True)
        if overwrite or not (unfinished / KEY).exists():
            _remove_store(unfinished)
            if any((output / name).exists() for name in RESULTS):
                raise UserError(
                    f"{output} already contains results: choose another folder with --output, or pass --overwrite."
                )
        unfinished.mkdir(exist_ok=True)
        yield unfinished
        _remove_store(unfinished)
    finally:
        release_output_lock(lock)


def _check_store(unfinished: Path) -> None:
    if unfinished.is_symlink() or (unfinished.exists() and not unfinished.is_dir()):
        raise UserError(f"{unfinished} is no folder of this program: move it, or choose another folder with --output.")
    known = store_files(unfinished)
    others = sorted(path.name for path in unfinished.glob("*") if path not in known)
    if others:
        raise UserError(
            f"{unfinished} contains files that are not of this program ({others[0]}): move them, or choose another "
            "folder with --output."
        )


def _check_section(output: Path, section: Path) -> None:
    for result in (*(output / name for name in RESULTS), *_temporary_results(output)):
        if result.exists() and result.samefile(section):
            raise UserError(
                f"{section} would be replaced by its own map, which writes {result.name}: choose another folder with "
                "--output."
            )


def _temporary_results(output: Path) -> list[Path]:
    """Files that interrupted writes of results left behind."""
    return [path for name in RESULTS for path in leftovers(output / name)]


def _remove_store(unfinished: Path) -> None:
    for path in store_files(unfinished):  # the key first: a map whose store was removed in part is finished
        path.unlink(missing_ok=True)
    if unfinished.exists():
        unfinished.rmdir()
