"""Classifies the windows of a section; an interrupted run resumes with the rows that are missing."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.concurrency import prefetch
from fpcn_lightning.field.mapping.classify.cutting import CutWindows, WindowCutter
from fpcn_lightning.field.mapping.classify.grid import CellGrid, WindowChunk, WindowGrid, cell_size
from fpcn_lightning.field.mapping.classify.prediction_store import FORMAT, PredictionStore, WindowPredictions
from fpcn_lightning.field.mapping.read.section import SectionFile
from fpcn_lightning.field.model import BundleModel, ModelOutputs

_HASHED_BYTES = 2**20  # of the section's file, at both ends, that identify it


def predict_windows(
    model: BundleModel,
    section: SectionFile,
    windows: WindowGrid,
    folder: Path,
    key: Mapping[str, object] | None = None,
    *,
    batch_size: int = 8,
    workers: int = 1,
    progress: bool = False,
) -> WindowPredictions:
    """Classify every window.

    Args:
        model: a loaded bundle. With as many workers as there are cores, one thread each is fastest.
        section: the section.
        windows: where to look.
        folder: where the predictions are stored; they stay there. No other process may write there.
        key: what else the predictions depend on, as JSON, such as the range of 16-bit samples.
        batch_size: windows that are read and computed together.
        workers: threads, each of which reads, resizes and classifies.
        progress: show a progress bar on a terminal.

    Raises:
        UserError: the folder has predictions of another bundle, section, grid or `key`; or the network fails.
    """
    cells = CellGrid(windows.height, windows.width, cell_size(windows.height, windows.width, windows.stride))
    cutter = WindowCutter(section, windows, cells, model.bundle.views.evaluation_size)
    store = PredictionStore(
        folder,
        {**_identity(model, section, windows), **(key or {})},
        rows=windows.rows,
        columns=windows.columns,
        classes=len(model.bundle.classes),
        cells=(cells.rows, cells.columns),
    )

    _check_unchanged(section, cutter, store)

    def cut_and_classify(chunk: WindowChunk) -> tuple[CutWindows, ModelOutputs | None]:
        cut = cutter.cut(chunk)
        return cut, model(cut.views) if len(cut.views) else None

    missing = [int(row) for row in np.flatnonzero(~store.done)]
    chunks = (chunk for row in missing for chunk in windows.chunks(row, batch_size))
    with _progress_bar(windows, windows.rows - len(missing), progress) as bar:
        for cut, outputs in prefetch(cut_and_classify, chunks, workers, 2 * workers):
            store.write_coverage(cut.cells, cut.coverage)
            store.write_predictions(cut.chunk, cut.selected, outputs)
            if cut.chunk.columns.stop == windows.columns:
                store.finish_row(cut.chunk.row, section.damaged, cutter.fingerprint(cut.chunk.row))
            bar.update(len(cut.chunk.columns))
    return WindowPredictions(windows, cells, store.probabilities, store.scores, store.coverage, len(store.damaged))


def _identity(model: BundleModel, section: SectionFile, windows: WindowGrid) -> dict[str, object]:
    """What the predictions depend on; a section that was copied or moved is the same."""
    return {
        "format": FORMAT,
        "bundle": model.bundle.digest,
        "file": model.file,
        "section": _digest(section.path),
        "bytes": section.path.stat().st_size,
        "height": windows.height,
        "width": windows.width,
        "side": windows.size,
        "stride": windows.stride,
    }


def _check_unchanged(section: SectionFile, cutter: WindowCutter, store: PredictionStore) -> None:
    """Refuse a section that was changed where rows of windows are finished: two sections would become one map."""
    for row in map(int, np.flatnonzero(store.done)):
        if cutter.fingerprint(row) != store.digests[row].tobytes():
            raise UserError(
                f"{section.path} has changed since its map was interrupted (at the windows of row {row}): pass "
                "--overwrite to start again, or choose another folder with --output."
            )


def _digest(path: Path) -> str:
    """Of both ends of a file: reading all of a mosaic may take minutes. `_check_unchanged` looks at the rest."""
    with path.open("rb") as file:
        first = file.read(_HASHED_BYTES)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _HASHED_BYTES))
        return hashlib.sha256(first + file.read()).hexdigest()


def _progress_bar(windows: WindowGrid, rows_done: int, progress: bool) -> "tqdm[Any]":
    # Without a terminal there is no bar.
    return tqdm(
        desc="classifying",
        total=windows.rows * windows.columns,
        initial=rows_done * windows.columns,
        unit="window",
        disable=None if progress else True,
    )
