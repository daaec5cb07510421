"""Maps a whole section: what `fpcn map` does."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.cores import usable_cores
from fpcn_lightning.errors import MissingPackage, UserError, WriteError
from fpcn_lightning.field.bundle import Bundle, read_bundle
from fpcn_lightning.field.mapping.classify.grid import WindowGrid, WindowSize, window_size
from fpcn_lightning.field.mapping.classify.prediction_store import WindowPredictions
from fpcn_lightning.field.mapping.classify.windows import predict_windows
from fpcn_lightning.field.mapping.measure.class_map import CellPredictions, ClassMap, make_class_map
from fpcn_lightning.field.mapping.read.corrections import read_corrections
from fpcn_lightning.field.mapping.read.pyramid import thumbnail
from fpcn_lightning.field.mapping.read.section import SectionFile
from fpcn_lightning.field.mapping.write.result_folder import FACTS, PAGE, SUMMARY, result_folder
from fpcn_lightning.field.mapping.write.summary import MapSummary, write_summary
from fpcn_lightning.field.model import BundleModel

if TYPE_CHECKING:  # needs packages that may be missing
    from fpcn_lightning.field.mapping.measure.tables import MapMeasurements

_PHOTOGRAPH_SIZE = 1600  # pixels along the longer edge of the section's copy for the overview
_BATCH_PIXELS = 8 * 224**2  # of the windows that are computed together: small ones in small batches take longer
_MAX_WINDOW = 4  # times the section's longer edge: most of a larger window would be the mirrored section


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise UserError(
            "There is not enough memory: pass a smaller --batch-size or fewer --threads, or close other programs."
        ) from error


@_memory_errors()
def map_section(
    bundle: Path | str,
    section: Path | str,
    output: Path | str | None = None,
    *,
    micrometres_per_pixel: float | None = None,
    overlap: float = 0.5,
    window: int | None = None,
    bits: int | None = None,
    file: str | None = None,
    batch_size: int | None = None,
    threads: int | None = None,
    corrections: Path | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> MapSummary:
    """Classify a section window by window, and write maps and measurements; an interrupted run is resumed.

    Args:
        bundle: folder of the bundle.
        section: the picture, as `fpcn_lightning.field.mapping.read.section.SectionFile` reads it.
        output: folder of the results; None is the section's name with `-map`, or `-map-corrected`, in the current
            folder.
        micrometres_per_pixel: of the section; None reads it from the file.
        overlap: share of a window that its neighbour sees too, from 0 to less than 1.
        window: size of a window in pixels of the section; None is that of the training.
        bits: that the samples of a 16-bit file use; None measures them.
        file: model file of the bundle; None is its default.
        batch_size: windows that are computed together; None: as many as have the pixels of eight windows of 224 px.
        threads: processor cores; None uses all.
        corrections: a file of outlines with the classes that a person has given them
            (`fpcn_lightning.field.mapping.read.corrections`), which replace those of the network.
        overwrite: start again, and replace existing results.
        progress: show a progress bar on a terminal.

    Raises:
        UserError: a bundle, section, output or number that cannot be used; damaged parts of a section are no error.
    """
    began = time.monotonic()
    MissingPackage.check("fpcn map", "map")
    from fpcn_lightning.field.mapping.measure.corrections import with_corrections
    from fpcn_lightning.field.mapping.measure.tables import measure
    from fpcn_lightning.field.mapping.write.page import write_page
    from fpcn_lightning.field.mapping.write.results import write_results

    workers = usable_cores() if threads is None else threads
    _check_numbers(overlap, batch_size=1 if batch_size is None else batch_size, threads=workers)
    suffix = "-map" if corrections is None else "-map-corrected"
    output = Path(f"{Path(section).stem}{suffix}" if output is None else output)
    model = BundleModel(read_bundle(Path(bundle)), file, threads=1)  # each worker is a thread of its own
    outlines = [] if corrections is None else read_corrections(corrections, model.bundle.classes)
    with SectionFile(Path(section), bits=bits) as opened:
        plan = _plan(opened, model.bundle, micrometres_per_pixel, window, overlap)
        windows = plan.windows
        with _writing(output), result_folder(output, opened.path, overwrite=overwrite) as unfinished:
            predicted = predict_windows(
                model,
                opened,
                windows,
                unfinished,
                {"bits": bits},
                batch_size=batch_size or windows_of_batch(model.bundle.views.evaluation_size),
                workers=workers,
                progress=progress,
            )
            class_map = with_corrections(_class_map(predicted, model, plan), outlines)
            measured = measure(class_map, windows.resolution, _confusion(model))
            photograph = thumbnail(opened, _PHOTOGRAPH_SIZE)
            write_results(output, class_map, measured, windows.resolution, photograph)
            summary = _summary(output, opened, model, plan, predicted, class_map, measured, time.monotonic() - began)
            del predicted  # Windows does not remove files that are memory-mapped
            write_summary(summary, output / SUMMARY, output / FACTS)
            write_page(output / PAGE, summary, class_map, photograph)
    return summary


def windows_of_batch(side: int) -> int:
    """How many windows of `side` pixels are computed together where nobody has said it."""
    return max(1, _BATCH_PIXELS // side**2)


class _MapPlan(NamedTuple):
    micrometres_per_pixel: float | None
    scale_from: str | None
    size: WindowSize
    windows: WindowGrid


def _plan(section: SectionFile, bundle: Bundle, given: float | None, window: int | None, overlap: float) -> _MapPlan:
    scale = section.micrometres_per_pixel if given is None else given
    size = window_size(bundle, scale, window)
    if size.pixels > _MAX_WINDOW * max(section.height, section.width):
        raise UserError(
            f"A window of {size.pixels} px is more than {_MAX_WINDOW} times as wide as the section, which has "
            f"{section.width} x {section.height} px: check the scale (--um-per-px), or pass --window-px."
        )
    stride = max(1, round(size.pixels * (1 - overlap)))
    scale_from = "option" if given is not None else None if scale is None else "file"
    return _MapPlan(scale, scale_from, size, WindowGrid(section.height, section.width, size.pixels, stride))


def _class_map(predicted: WindowPredictions, model: BundleModel, plan: _MapPlan) -> ClassMap:
    threshold = model.bundle.files[model.file]["threshold"]
    cells = CellPredictions(predicted, model.bundle.classes, threshold, plan.micrometres_per_pixel)
    return make_class_map(cells)


def _confusion(model: BundleModel) -> NDArray[np.float64] | None:
    measured = model.bundle.files[model.file].get("window_confusion")
    return None if measured is None else np.array(measured, np.float64)


def _summary(
    output: Path,
    section: SectionFile,
    model: BundleModel,
    plan: _MapPlan,
    predicted: WindowPredictions,
    class_map: ClassMap,
    measured: "MapMeasurements",
    seconds: float,
) -> MapSummary:
    windows = plan.windows
    return MapSummary(
        output=output,
        section=section.path,
        bundle=model.bundle.name,
        digest=model.bundle.digest,
        file=model.file,
        usability=model.bundle.usability,
        height=section.height,
        width=section.width,
        pictures=section.pictures,
        stretched=section.stretched,
        micrometres_per_pixel=plan.micrometres_per_pixel,
        scale_from=plan.scale_from,
        window=windows.size,
        window_from=plan.size.reason,
        network_side=model.bundle.views.evaluation_size,
        magnification_checked=plan.size.checked,
        stride=windows.stride,
        resolution=windows.resolution,
        cell=class_map.cell,
        windows=windows.rows * windows.columns,
        windows_without_data=int(np.isnan(predicted.scores).sum()),
        damaged_segments=predicted.damaged,
        percent_by_hand=float(100 * class_map.by_hand.mean()),
        grains=len(measured.grains),
        areas=measured.areas,
        contacts=measured.contacts,
        grain_sizes=measured.grain_sizes,
        seconds=round(seconds, 3),
    )


def _check_numbers(overlap: float, **counts: int) -> None:
    if not 0 <= overlap < 1:
        raise UserError(f"overlap={overlap} must be at least 0 and less than 1.")
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"{name}={count} must be at least 1.")


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError.of(output, error) from error
