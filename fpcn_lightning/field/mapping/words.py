"""A finished map in words: what to read first."""

from textwrap import fill

from fpcn_lightning.field.mapping.lengths import metric
from fpcn_lightning.field.mapping.summary import MapSummary
from fpcn_lightning.field.results import Row, shown

_FEW_PERCENT = 1.0  # of the section without data, or unlike the training pictures, that are not worth a warning
_SAME_SCALE = 1.05
_LINE = 100  # characters
_INTERVALS = (
    "The intervals hold what the model's own doubts explain. They know nothing of errors in one direction, as along "
    "boundaries, or of one mineral that is taken for another everywhere: those can be larger."
)


def map_text(summary: MapSummary) -> str:
    """The table of areas, what was measured besides, and every reason not to trust it."""
    remarks = [_fineness(summary), _INTERVALS, *(f"Warning: {warning}" for warning in warnings(summary))]
    paragraphs = (fill(remark, _LINE, subsequent_indent="  ", break_on_hyphens=False) for remark in remarks)
    title = f"{shown(summary.section)} is mapped in {shown(summary.output)}"
    return "\n".join([title, "", *_area_lines(summary), "", *paragraphs])


def warnings(summary: MapSummary) -> list[str]:
    """Sentences about what may be wrong with the map."""
    found = []
    if summary.pictures > 1:
        found.append(f"the file holds {summary.pictures} pictures: only the first is mapped.")
    if summary.stretched:
        found.append(
            "nothing in the file says what is white, so its brightness was stretched from its darkest to its brightest "
            "pixel: save it with 8 or 16 bits if the map looks wrong."
        )
    if summary.micrometres_per_pixel is None:
        found.append("the scale of the section is not known, so there are no areas in mm2: say it with --um-per-px.")
    if not summary.magnification_checked:
        found.append(f"windows are {summary.window} px wide, {summary.window_from}.")
    factor = summary.network_side / summary.window
    if factor > _SAME_SCALE:
        found.append(f"windows are enlarged {factor:.1f} times for the network, so they may look blurred to it.")
    if summary.percent_no_data > 0:
        parts = f"; damaged parts of the file: {summary.damaged_segments}" if summary.damaged_segments else ""
        found.append(
            f"{_share(summary.percent_no_data)} of the section gave no data (damaged or transparent{parts}): it is "
            "left white, and counts for no class."
        )
    if summary.percent_unfamiliar > _FEW_PERCENT:
        found.append(
            f"{summary.percent_unfamiliar:.0f} % of the area with data look unlike the pictures that the model was "
            "trained with: do not trust the classes there."
        )
    return found


def _area_lines(summary: MapSummary) -> list[str]:
    known = summary.micrometres_per_pixel is not None
    heading = ("class", "percent", "95 % interval", "mm2" if known else "px", "grains")
    cells = [heading, *(_area_cells(row, known) for row in summary.areas[:-1] if row["area_px"])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(["", row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells]


def _area_cells(row: Row, known: bool) -> tuple[str, ...]:
    area = f"{row['area_mm2']:.4g}" if known else str(row["area_px"])
    interval = f"{row['percent_low']:.1f} to {row['percent_high']:.1f}"
    return str(row["class"]), f"{row['percent']:.1f}", interval, area, str(row["grains"])


def _fineness(summary: MapSummary) -> str:
    return (
        f"One window of the network is {_length(summary, summary.window)} wide, and windows lie "
        f"{_length(summary, summary.stride)} apart: do not trust grains with a diameter below "
        f"{_length(summary, summary.resolution)}. Many of them are merged with their neighbours."
    )


def _length(summary: MapSummary, pixels: int) -> str:
    if summary.micrometres_per_pixel is None:
        return f"{pixels} px"
    return f"{pixels} px ({metric(pixels * summary.micrometres_per_pixel)})"


def _share(percent: float) -> str:
    return f"{percent:.1f} %" if percent >= _FEW_PERCENT / 10 else "less than 0.1 %"
