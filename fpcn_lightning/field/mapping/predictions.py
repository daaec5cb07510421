"""What the network says of each window of a section."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.field.mapping.cells import Cells, cell_side
from fpcn_lightning.field.mapping.cutting import Chunk, Cut, Cutter
from fpcn_lightning.field.mapping.kept import Kept
from fpcn_lightning.field.mapping.sections import SectionFile
from fpcn_lightning.field.mapping.windows import Windows
from fpcn_lightning.field.model import BundleModel, Outputs
from fpcn_lightning.field.prefetch import ahead

_ENDS = 2**20  # bytes of the section's file, at both its ends, that tell it from others


@dataclass(frozen=True)
class WindowPredictions:
    """The answers of all windows.

    Attributes:
        windows: where the network looked.
        cells: of the maps.
        probabilities: float32 [rows, columns, C], a memory map; NaN where the network was not asked, since less than
            half of what the window stands for is known, or gave no number.
        scores: float32 [rows, columns], likewise.
        coverage: bool, by cells: the better part of the cell is known.
        damaged: segments of the file that could not be read.
    """

    windows: Windows
    cells: Cells
    probabilities: NDArray[np.float32]
    scores: NDArray[np.float32]
    coverage: NDArray[np.bool_]
    damaged: int


def predict_windows(
    model: BundleModel,
    section: SectionFile,
    windows: Windows,
    folder: Path,
    key: Mapping[str, object] | None = None,
    *,
    batch_size: int = 8,
    workers: int = 1,
    progress: bool = False,
) -> WindowPredictions:
    """Classify every window; a call that was cut off goes on with the rows that are missing.

    Args:
        model: a loaded bundle. With as many workers as there are cores, one thread each is fastest.
        section: the section.
        windows: where to look.
        folder: what the answers are kept in; they stay there. No other process may write there.
        key: what else the answers depend on, as JSON knows it, such as the range of 16-bit samples.
        batch_size: windows that are read and computed together.
        workers: threads, each of which reads, resizes and classifies.
        progress: show a bar on a terminal.

    Raises:
        UserError: the folder holds answers of another bundle, section, grid or `key`; or the network fails.
    """
    cells = Cells(windows.height, windows.width, cell_side(windows.height, windows.width, windows.stride))
    cutter = Cutter(section, windows, cells, model.bundle.views.evaluation_side)

    def prediction(chunk: Chunk) -> tuple[Cut, Outputs | None]:
        cut = cutter.cut(chunk)
        return cut, model(cut.views) if len(cut.views) else None

    kept = Kept(
        folder,
        {**_identity(model, section, windows), **(key or {})},
        rows=windows.rows,
        columns=windows.columns,
        classes=len(model.bundle.classes),
        cells=(cells.rows, cells.columns),
    )
    missing = [int(row) for row in np.flatnonzero(~kept.done)]
    chunks = (chunk for row in missing for chunk in cutter.chunks(row, batch_size))
    with _bar(windows, windows.rows - len(missing), progress) as bar:
        for cut, outputs in ahead(prediction, chunks, workers, 2 * workers):
            kept.write(cut, outputs)
            if cut.chunk.columns.stop == windows.columns:
                kept.finish(cut.chunk.row, section.damaged)
            bar.update(len(cut.chunk.columns))
    return WindowPredictions(windows, cells, kept.probabilities, kept.scores, kept.coverage, len(kept.damaged))


def _identity(model: BundleModel, section: SectionFile, windows: Windows) -> dict[str, object]:
    """What the answers depend on; a section that was copied or moved is the same."""
    return {
        "bundle": model.bundle.digest,
        "file": model.file,
        "section": _digest(section.path),
        "bytes": section.path.stat().st_size,
        "height": windows.height,
        "width": windows.width,
        "side": windows.side,
        "stride": windows.stride,
    }


def _digest(path: Path) -> str:
    """Of both ends of a file: reading all of a mosaic may take minutes."""
    with path.open("rb") as file:
        first = file.read(_ENDS)
        file.seek(max(0, file.seek(0, os.SEEK_END) - _ENDS))
        return hashlib.sha256(first + file.read()).hexdigest()


def _bar(windows: Windows, rows_done: int, progress: bool) -> "tqdm[Any]":
    # Without a terminal there is no bar.
    return tqdm(
        desc="classifying",
        total=windows.rows * windows.columns,
        initial=rows_done * windows.columns,
        unit="window",
        disable=None if progress else True,
    )
