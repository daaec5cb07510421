"""The results of `fpcn check`: a CSV, a page, and what is printed."""

from pathlib import Path

from PIL import Image

from fpcn_lightning.data.images import ImageReader, Shape, UnreadableImage
from fpcn_lightning.field.checking.measures import UNKNOWN, CheckedPicture, CheckSummary
from fpcn_lightning.field.model import BundleModel
from fpcn_lightning.field.results import PredictionTable, csv_line, shown
from fpcn_lightning.html_pages import image_uri, templates
from fpcn_lightning.runs.atomic_write import write_text_atomically

CSV_NAME = "check.csv"
PAGE_NAME = "index.html"
MAX_WORST = 24
MAX_MATRIX = 40  # labels; a larger matrix of confusions cannot be read
_THUMBNAIL = 240  # pixels of the longer side
_DIGITS = 6


def write_csv(path: Path, summary: CheckSummary) -> None:
    """Write a line for each photograph: those of `fpcn predict`, and label, right, probability_label."""
    classes = summary.classes
    table = PredictionTable(classes, not_usable="; ".join(summary.usability.reasons))
    columns = ["path", "label", "right", "probability_label", *table.columns[1:]]
    lines = [csv_line(columns)]
    for picture in summary.pictures:
        row = table.row(picture.prediction)
        row["label"] = picture.label
        if picture.prediction.probabilities is not None:
            known = picture.label in classes
            row["right"] = picture.predicted(classes) == picture.label if known else bool(picture.prediction.unknown)
            row["probability_label"] = round(picture.probability(classes), _DIGITS) if known else None
        lines.append(csv_line(row.get(column) for column in columns))
    write_text_atomically(path, "\ufeff" + "".join(lines))


def write_page(path: Path, summary: CheckSummary, model: BundleModel, source: Path, reader: ImageReader) -> Path:
    """Write the page, with the worst photographs as small pictures."""
    labels = [count.label for count in summary.labels]
    page = templates("fpcn_lightning.field.checking").get_template("page.html.jinja")
    worst = [(picture, _thumbnail(picture, reader)) for picture in summary.worst(MAX_WORST)]
    text = page.render(
        bundle=model.bundle,
        file=model.file,
        source=shown(source),
        summary=summary,
        headline=headline(summary),
        sentences=sentences(summary),
        matrix=summary.confusion if len(labels) <= MAX_MATRIX else None,
        labels=labels,
        columns=(*summary.classes, UNKNOWN),
        worst=worst,
        shown=shown,
    )
    return write_text_atomically(path, text, errors="replace")


def headline(summary: CheckSummary) -> str:
    """The accuracy in one sentence."""
    if summary.accuracy is None:
        return "No readable photograph has a label that the model knows: there is no accuracy."
    low, high = summary.interval
    return (
        f"{summary.accuracy:.1%} of {len(summary.known):,} photographs are classified correctly (95 % interval "
        f"{low:.1%} to {high:.1%})."
    )


def sentences(summary: CheckSummary) -> list[str]:
    """What else there is to say."""
    found = []
    if summary.known:
        found.append(
            f"Calibration error {summary.calibration_error:.1%}; with this number of photographs up to "
            f"{summary.error_by_chance:.1%} is chance."
        )
        found.append(f"{summary.unknown:,} of {len(summary.known):,} photographs of known classes are called unknown.")
    if summary.foreign:
        called = sum(bool(picture.prediction.unknown) for picture in summary.foreign)
        names = sorted({picture.label for picture in summary.foreign})
        found.append(
            f"{called:,} of {len(summary.foreign):,} photographs with labels that the model does not know "
            f"({', '.join(names)}) are called unknown; all should be."
        )
    if summary.unreadable:
        number = len(summary.unreadable)
        files = "1 file" if number == 1 else f"{number:,} files"
        found.append(f"{files} cannot be read; the column error of {CSV_NAME} says why.")
    return found


def check_text(summary: CheckSummary, page: Path) -> str:
    """What is printed."""
    lines = [*summary.usability.warnings, headline(summary), *sentences(summary)]
    width = max((len(count.label) for count in summary.labels), default=0)
    if summary.labels:
        lines.append(f"  {'label':{width}}  photographs    right  unknown")
    for count in summary.labels:
        right = f"{count.right:,}" if count.label in summary.classes else "-"
        lines.append(f"  {count.label:{width}}  {count.pictures:11,}  {right:>7}  {count.unknown:7,}")
    return "\n".join([*lines, f"page: {shown(page)}"])


def _thumbnail(picture: CheckedPicture, reader: ImageReader) -> str:
    """The photograph as an address; empty if it can no longer be read."""
    try:
        return image_uri(Image.fromarray(reader.read(picture.prediction.path, _thumbnail_shape).pixels))
    except UnreadableImage:
        return ""


def _thumbnail_shape(height: int, width: int) -> Shape:
    factor = min(1.0, _THUMBNAIL / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
