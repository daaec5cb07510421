"""Map a whole section: what `fpcn map` does."""

import contextlib
import importlib.util
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import Bundle, read_bundle
from fpcn_lightning.field.mapping.class_map import ClassMap, class_map
from fpcn_lightning.field.mapping.predictions import WindowPredictions, predict_windows
from fpcn_lightning.field.mapping.result_folder import FACTS, SUMMARY, result_folder, whole
from fpcn_lightning.field.mapping.sections import SectionFile
from fpcn_lightning.field.mapping.summary import MapSummary
from fpcn_lightning.field.mapping.surface import Surface
from fpcn_lightning.field.mapping.thumbnail import thumbnail
from fpcn_lightning.field.mapping.windows import Side, Windows, window_side
from fpcn_lightning.field.mapping.words import map_text
from fpcn_lightning.field.model import BundleModel

_PACKAGES = ("tifffile", "scipy", "skimage", "matplotlib")
_PHOTOGRAPH_PIXELS = 1600  # longer side of the section on the overview, before it is drawn
_WIDEST_WINDOW = 4  # times the section's longer side: what lies beyond is the mirrored section, and no answer


class _Plan(NamedTuple):
    micrometres_per_pixel: float | None
    scale_from: str | None
    side: Side
    windows: Windows


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise UserError(
            "There is not enough memory: say a smaller --batch-size or fewer --threads, or close other programs."
        ) from error


@_enough_memory()
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
    batch_size: int = 8,
    threads: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> MapSummary:
    """Classify a section window by window, and write maps and measurements; a run that was cut off goes on.

    Args:
        bundle: folder of the bundle.
        section: the picture, as `fpcn_lightning.field.mapping.sections.SectionFile` reads it.
        output: folder of the results; None takes the section's name with `-map`, in the current folder.
        micrometres_per_pixel: of the section; None takes what the file itself says.
        overlap: share of a window's side that its neighbour sees, too, from 0 to less than 1.
        window: side of a window in pixels of the section; None takes what training had.
        bits: that the samples of a 16-bit file use; None finds out.
        file: model file of the bundle; None takes its default.
        batch_size: windows that are computed together.
        threads: processor cores; None takes all.
        overwrite: begin anew, and replace results that are there.
        progress: show a bar on a terminal.

    Raises:
        UserError: a bundle, section, output or number that cannot be used; damaged parts of a section are no error.
    """
    began = time.monotonic()
    _check_packages()
    from fpcn_lightning.field.mapping.measurements import measure, write_measurements

    workers = (os.cpu_count() or 1) if threads is None else threads
    _check_numbers(overlap, batch_size=batch_size, threads=workers)
    output = Path(f"{Path(section).stem}-map" if output is None else output)
    model = BundleModel(read_bundle(Path(bundle)), file, threads=1)  # each worker brings a thread of its own
    trained = model.bundle
    with SectionFile(Path(section), bits=bits) as opened:
        plan = _planned(opened, trained, micrometres_per_pixel, window, overlap)
        windows = plan.windows
        with _writing(output), result_folder(output, opened.path, overwrite=overwrite) as unfinished:
            predicted = predict_windows(
                model,
                opened,
                windows,
                unfinished,
                {"bits": bits},
                batch_size=batch_size,
                workers=workers,
                progress=progress,
            )
            found = _mapped(predicted, model, plan)
            measured = measure(found, windows.resolution)
            photograph = thumbnail(opened, _PHOTOGRAPH_PIXELS)
            write_measurements(output, found, measured, windows.resolution, photograph)
            summary = MapSummary(
                output=output,
                section=opened.path,
                bundle=trained.name,
                digest=trained.digest,
                file=model.file,
                height=opened.height,
                width=opened.width,
                pictures=opened.pictures,
                stretched=opened.stretched,
                micrometres_per_pixel=plan.micrometres_per_pixel,
                scale_from=plan.scale_from,
                window=windows.side,
                window_from=plan.side.why,
                network_side=trained.views.evaluation_side,
                magnification_checked=plan.side.checked,
                stride=windows.stride,
                resolution=windows.resolution,
                cell=found.cell,
                windows=windows.rows * windows.columns,
                windows_without_data=int(np.isnan(predicted.scores).sum()),
                damaged_segments=predicted.damaged,
                grains=len(measured.grains),
                areas=measured.areas,
                contacts=measured.contacts,
                grain_sizes=measured.grain_sizes,
                seconds=round(time.monotonic() - began, 3),
            )
            del predicted  # Windows lets nobody remove what is mapped
            _write_summary(summary)
    return summary


def _mapped(predicted: WindowPredictions, model: BundleModel, plan: _Plan) -> ClassMap:
    threshold = model.bundle.files[model.file]["threshold"]
    surface = Surface(predicted, model.bundle.classes, threshold, plan.micrometres_per_pixel)
    return class_map(surface, plan.windows.side)


def _check_packages() -> None:
    """Now, and not when hours of classifying are over."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"Maps need more packages ({', '.join(missing)}): pip install 'fpcn-lightning[map]'.")


def _check_numbers(overlap: float, **counts: int) -> None:
    if not 0 <= overlap < 1:
        raise UserError(f"overlap={overlap} must be at least 0 and less than 1.")
    for name, count in counts.items():
        if count < 1:
            raise UserError(f"{name}={count} must be at least 1.")


def _planned(section: SectionFile, bundle: Bundle, given: float | None, window: int | None, overlap: float) -> _Plan:
    scale = section.micrometres_per_pixel if given is None else given
    side = window_side(bundle, scale, window)
    if side.pixels > _WIDEST_WINDOW * max(section.height, section.width):
        raise UserError(
            f"A window of {side.pixels} px is more than {_WIDEST_WINDOW} times as wide as the section, which has "
            f"{section.width} x {section.height} px: check the scale (--um-per-px), or say --window-px."
        )
    stride = max(1, round(side.pixels * (1 - overlap)))
    origin = "option" if given is not None else None if scale is None else "file"
    return _Plan(scale, origin, side, Windows(section.height, section.width, side.pixels, stride))


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{output} cannot be written ({reason}): make room, or name another folder.") from error


def _write_summary(summary: MapSummary) -> None:
    with whole(summary.output / SUMMARY) as path:
        path.write_text(map_text(summary) + "\n", encoding="utf-8")
    with whole(summary.output / FACTS) as path:
        path.write_text(json.dumps(summary.facts(), indent=2, ensure_ascii=False, allow_nan=False), encoding="utf-8")
