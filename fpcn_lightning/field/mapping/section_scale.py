"""How many micrometres a pixel of a TIFF stands for, as far as the file itself says."""

import math
from typing import Any

LARGEST_SCALE = 50.0  # micrometres per pixel
MICROMETRES = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "\\u00B5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_INCH, _CENTIMETRE, _MICROMETRE = 2, 3, 5  # units of resolution; the last one is tifffile's own


def micrometres_per_pixel(file: Any, page: Any) -> float | None:
    """The scale of the full-size page of a `tifffile.TiffFile`; None where there is none to be trusted.

    OME metadata and ImageJ's unit are believed. The resolution tags are, if their unit is the centimetre or the inch
    and they mean less than `LARGEST_SCALE`: editors write 72, 96 or 300 dots an inch (353, 265, 85 micrometres) into
    every picture. Scales that differ between the axes by more than 1 % are no scale.
    """
    sides = _ome(file) or _imagej(file, page) or _tags(page)
    if sides is None or not all(math.isfinite(side) and side > 0 for side in sides):
        return None
    return math.sqrt(sides[0] * sides[1]) if math.isclose(*sides, rel_tol=0.01) else None


def _ome(file: Any) -> tuple[float, float] | None:
    from tifffile import xml2dict

    if not file.is_ome:
        return None
    try:
        image = xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        x, y = (
            float(pixels[f"PhysicalSize{axis}"]) * MICROMETRES[pixels.get(f"PhysicalSize{axis}Unit", "µm")]
            for axis in "XY"
        )
    except Exception:  # metadata of any kind of wrongness are no scale
        return None
    return x, y


def _imagej(file: Any, page: Any) -> tuple[float, float] | None:
    unit = (file.imagej_metadata or {}).get("unit")
    if unit not in MICROMETRES:
        return None
    x, y = page.get_resolution()
    return MICROMETRES[unit] / x, MICROMETRES[unit] / y


def _tags(page: Any) -> tuple[float, float] | None:
    if page.resolutionunit not in (_INCH, _CENTIMETRE) or "XResolution" not in page.tags:
        return None
    x, y = page.get_resolution(_MICROMETRE)
    return (1 / x, 1 / y) if x > 1 / LARGEST_SCALE else None
