"""The summary of a finished map: `map.json` for programs, and a text of its areas and of all warnings for people."""

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from textwrap import fill

from fpcn_lightning import __version__
from fpcn_lightning.field.results import TableRow, shown
from fpcn_lightning.field.usability import Usability
from fpcn_lightning.runs.atomic_write import write_text_atomically

SCHEMA = 1

_LIBRARIES = ("numpy", "onnxruntime", "pillow", "scikit-image", "scipy", "tifffile")
_FEW_PERCENT = 1.0  # of the section without data, or unlike the pictures of the training, that need no warning
_SAME_SCALE = 1.05
_LINE = 100  # characters
_CORRECTED = (
    "The corrected percentages allow for the confusions that the model showed on its test pictures, and the intervals "
    "for how well these are known. They do not include errors along boundaries, and minerals that are none of the "
    "classes."
)
_NOT_CORRECTED = (
    "The bundle has no measured confusions of single windows, so that the percentages have no interval: export it "
    "again with its test pictures."
)


@dataclass(frozen=True)
class MapSummary:
    """One map. Lengths are in pixels of the section.

    Attributes:
        output: the folder of results.
        section: the file.
        bundle, digest, file: name of the bundle, its digest, and its model file.
        usability: the verdict on its model.
        height, width: of the section.
        pictures: number of pictures in its file; the first is mapped.
        stretched: its brightness was stretched from the smallest to the largest sample.
        micrometres_per_pixel: of the section; None if unknown.
        scale_from: where the scale comes from: "option" or "file"; None if unknown.
        window: size of what the network sees at once, which is resized to `network_side` pixels.
        window_from: the reason for that size, as the end of a sentence.
        magnification_checked: whether the network sees the section at the scale of its training.
        stride: distance between windows.
        resolution: smallest diameter of a grain that they resolve.
        cell: size of a cell of the maps.
        windows, windows_without_data: number of windows, and of those that could not be classified.
        damaged_segments: tiles or strips of the file that could not be read.
        percent_by_hand: of the cells of the map, classified by a person instead of the network.
        grains: number of grains; each has a row in `grains.csv`.
        areas, contacts, grain_sizes: the rows of these tables.
        seconds: duration of this run, without that of an interrupted one before it.
    """

    output: Path
    section: Path
    bundle: str
    digest: str
    file: str
    usability: Usability
    height: int
    width: int
    pictures: int
    stretched: bool
    micrometres_per_pixel: float | None
    scale_from: str | None
    window: int
    window_from: str
    network_side: int
    magnification_checked: bool
    stride: int
    resolution: int
    cell: int
    windows: int
    windows_without_data: int
    damaged_segments: int
    percent_by_hand: float
    grains: int
    areas: list[TableRow]
    contacts: list[TableRow]
    grain_sizes: list[TableRow]
    seconds: float

    @property
    def percent_no_data(self) -> float:
        """Of the section."""
        return number(self.areas[-1]["percent_of_section"])

    @property
    def percent_unfamiliar(self) -> float:
        """Of the area with data: what looks unlike the pictures of the training."""
        return sum(number(row["percent"]) * number(row["percent_unfamiliar"]) / 100 for row in self.areas[:-1])

    def as_json(self) -> dict[str, object]:
        """All of it as JSON, with the versions of the libraries that were used."""
        libraries = {"fpcn-lightning": __version__, **{name: version(name) for name in _LIBRARIES}}
        paths = {"output": shown(self.output), "section": shown(self.section)}
        return {"schema": SCHEMA, **asdict(self), **paths, "versions": libraries}


def write_summary(summary: MapSummary, text: Path, facts: Path) -> None:
    """Write the text summary and the JSON file."""
    write_text_atomically(text, text_summary(summary) + "\n")
    write_text_atomically(facts, json.dumps(summary.as_json(), indent=2, ensure_ascii=False, allow_nan=False))


def text_summary(summary: MapSummary) -> str:
    """The sentences about the model, the table of areas, the resolution of the map, and all warnings."""
    remarks = [*notes(summary), *(f"Warning: {warning}" for warning in warnings(summary))]
    paragraphs = (fill(remark, _LINE, subsequent_indent="  ", break_on_hyphens=False) for remark in remarks)
    title = f"{shown(summary.section)} is mapped in {shown(summary.output)}"
    return "\n".join([*summary.usability.warnings, title, "", *_area_lines(summary), "", *paragraphs])


def warnings(summary: MapSummary) -> list[str]:
    """Sentences about what may be wrong with the map."""
    found = []
    if summary.pictures > 1:
        found.append(f"the file contains {summary.pictures} pictures: only the first is mapped.")
    if summary.stretched:
        found.append(
            "the file does not define white, so its brightness was stretched from its darkest to its brightest pixel: "
            "save it with 8 or 16 bits if the map looks wrong."
        )
    if summary.micrometres_per_pixel is None:
        found.append("the scale of the section is unknown, so there are no areas in mm2: pass it with --um-per-px.")
    if not summary.magnification_checked:
        found.append(f"windows are {summary.window} px wide, {summary.window_from}.")
    factor = summary.network_side / summary.window
    if factor > _SAME_SCALE:
        found.append(f"windows are enlarged {factor:.1f} times for the network, so they may be blurred.")
    if summary.percent_no_data > 0:
        parts = f"; damaged parts of the file: {summary.damaged_segments}" if summary.damaged_segments else ""
        found.append(
            f"{_share(summary.percent_no_data)} of the section has no data (damaged or transparent{parts}): this area "
            "is white, and belongs to no class."
        )
    if summary.percent_unfamiliar > _FEW_PERCENT:
        found.append(
            f"{summary.percent_unfamiliar:.0f} % of the area with data look unlike the pictures that the model was "
            "trained with: do not trust the classes there."
        )
    return found


def metric(micrometres: float) -> str:
    """A length in the largest unit in which it is at least one."""
    for unit, name in ((10_000, "cm"), (1000, "mm")):
        if micrometres >= unit:
            return f"{micrometres / unit:.3g} {name}"
    return f"{micrometres:.3g} um"


def number(cell: object) -> float:
    """The number in a cell of a table, 0 in an empty one."""
    return float(cell) if isinstance(cell, int | float) else 0.0


def _area_lines(summary: MapSummary) -> list[str]:
    known = summary.micrometres_per_pixel is not None
    heading = ("class", "percent", "corrected", "95 % interval", "mm2" if known else "px", "grains")
    cells = [heading, *(_area_cells(row, known) for row in summary.areas[:-1] if row["area_px"])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(["", row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]


def _area_cells(row: TableRow, known: bool) -> tuple[str, ...]:
    area = f"{row['area_mm2']:.4g}" if known else str(row["area_px"])
    corrected = "-" if row["percent_corrected"] is None else f"{row['percent_corrected']:.1f}"
    interval = "-" if row["corrected_low"] is None else f"{row['corrected_low']:.1f} to {row['corrected_high']:.1f}"
    return str(row["class"]), f"{row['percent']:.1f}", corrected, interval, area, str(row["grains"])


def notes(summary: MapSummary) -> list[str]:
    """How fine the map is, what the corrected percentages and their intervals contain, and what was done by hand."""
    by_hand = [f"{_share(summary.percent_by_hand)} of the map was classified by hand."]
    return [_resolution(summary), _corrections(summary), *(by_hand if summary.percent_by_hand else [])]


def _corrections(summary: MapSummary) -> str:
    measured = any(row["percent_corrected"] is not None for row in summary.areas)
    return _CORRECTED if measured else _NOT_CORRECTED


def _resolution(summary: MapSummary) -> str:
    return (
        f"Each window of the network is {_length(summary, summary.window)} wide, at a distance of "
        f"{_length(summary, summary.stride)} from the next: do not trust grains with a diameter below "
        f"{_length(summary, summary.resolution)}. Many of them are merged with their neighbours."
    )


def _length(summary: MapSummary, pixels: int) -> str:
    if summary.micrometres_per_pixel is None:
        return f"{pixels} px"
    return f"{pixels} px ({metric(pixels * summary.micrometres_per_pixel)})"


def _share(percent: float) -> str:
    return f"{percent:.1f} %" if percent >= _FEW_PERCENT / 10 else "less than 0.1 %"
