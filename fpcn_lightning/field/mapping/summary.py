"""What a finished map says of itself, for programs (`map.json`) and for people."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from fpcn_lightning import __version__
from fpcn_lightning.field.results import Row, shown

SCHEMA = 1

_LIBRARIES = ("numpy", "onnxruntime", "pillow", "scikit-image", "scipy", "tifffile")


@dataclass(frozen=True)
class MapSummary:
    """One map. Lengths are in pixels of the section.

    Attributes:
        output: the folder of results.
        section: the file.
        bundle, digest, file: name of the bundle, its digest, and its model file.
        height, width: of the section.
        pictures: that its file holds; the first is mapped.
        stretched: its brightness was stretched from the least to the greatest sample.
        micrometres_per_pixel: of the section; None where it is not known.
        scale_from: who says so: "option" or "file"; None where nobody does.
        window: side of what the network sees at once, which it gets as `network_side` pixels.
        window_from: why it is that, in words.
        magnification_checked: whether the network sees the section at the scale that it was trained at.
        stride: distance of windows.
        resolution: least diameter of a grain that they resolve.
        cell: side of a cell of the maps.
        windows, windows_without_data: how many, and how many of them could not be classified.
        damaged_segments: tiles or strips of the file that could not be read.
        grains: how many; each has a row in `grains.csv`.
        areas, contacts, grain_sizes: the rows of these tables.
        seconds: that this run took; one that was cut off before is not in.
    """

    output: Path
    section: Path
    bundle: str
    digest: str
    file: str
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
    grains: int
    areas: list[Row]
    contacts: list[Row]
    grain_sizes: list[Row]
    seconds: float

    @property
    def percent_no_data(self) -> float:
        """Of the section."""
        return _number(self.areas[-1]["percent_of_section"])

    @property
    def percent_unfamiliar(self) -> float:
        """Of the area with data: what looks unlike the training pictures."""
        return sum(_number(row["percent"]) * _number(row["percent_unfamiliar"]) / 100 for row in self.areas[:-1])

    def facts(self) -> dict[str, object]:
        """All of it as JSON knows it, with the versions that made it."""
        libraries = {"fpcn-lightning": __version__, **{name: version(name) for name in _LIBRARIES}}
        paths = {"output": shown(self.output), "section": shown(self.section)}
        return {"schema": SCHEMA, **asdict(self), **paths, "versions": libraries}


def _number(cell: object) -> float:
    return cell if isinstance(cell, float) else 0.0
