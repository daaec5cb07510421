"""What the tags of a TIFF file say: how samples become eight-bit colours, and how large a pixel is.

Colours follow the rule of `fpcn_lightning.data.images`, with one range of samples for the whole section. A window that
was scaled by its own brightest pixel would change its colours with its surroundings.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import SENSOR_BITS, to_eight_bits

MIN_IS_WHITE, MIN_IS_BLACK, RGB, YCBCR = 0, 1, 2, 6  # photometric interpretations

MIN_OPACITY = 128  # of 255: pixels that are more transparent show nothing

MAX_SCALE = 50.0  # micrometres per pixel
MICROMETRES = {"µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "\\u00B5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_INCH, _CENTIMETRE, _MICROMETRE = 2, 3, 5  # units of resolution; the last one is tifffile's own

Samples = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class ColourConversion:
    """How the samples of one TIFF become colours.

    Args:
        photometric: what the samples mean: `MIN_IS_WHITE`, `MIN_IS_BLACK`, `RGB`, or `YCBCR` that was decoded to RGB.
        alpha: the sample after the colours is the opacity of the pixel; the pixel is composed with white.
        colour_bits: range of the colours, one of `SENSOR_BITS`.
        alpha_bits: range of alpha, likewise.
    """

    photometric: int
    alpha: bool
    colour_bits: int = 8
    alpha_bits: int = 8

    @property
    def colour_samples(self) -> int:
        """How many samples of a pixel are colours."""
        return 3 if self.photometric in (RGB, YCBCR) else 1

    def with_ranges(self, colour_bits: int, alpha_bits: int) -> "ColourConversion":
        """The same conversion with other ranges."""
        return replace(self, colour_bits=colour_bits, alpha_bits=alpha_bits)

    def __call__(self, samples: Samples) -> NDArray[np.uint8]:
        """Convert samples [H, W, S] to uint8 [H, W, 3], or to [H, W, 1] where all three colours are the same."""
        colour = _to_eight_bits(samples[..., : self.colour_samples], self.colour_bits)
        if self.photometric == MIN_IS_WHITE:
            colour = 255 - colour
        if not self.alpha:
            return colour
        opacity = self._opacity(samples)[..., None]
        rgb = np.broadcast_to(colour, (*colour.shape[:2], 3))
        picture = Image.fromarray(np.concatenate((rgb, opacity), axis=-1))
        white = Image.new("RGBA", picture.size, "white")
        return np.asarray(Image.alpha_composite(white, picture).convert("RGB"))

    def opaque(self, samples: Samples) -> NDArray[np.bool_] | None:
        """Which pixels of samples [H, W, S] show something, bool [H, W]; None if all do."""
        if not self.alpha:
            return None
        opaque = self._opacity(samples) >= MIN_OPACITY
        return None if opaque.all() else opaque

    def _opacity(self, samples: Samples) -> NDArray[np.uint8]:
        return _to_eight_bits(samples[..., self.colour_samples], self.alpha_bits)


def bits_of(maximum: int) -> int:
    """The smallest range of a sensor that includes a sample."""
    return next(bits for bits in SENSOR_BITS if maximum < 2**bits)


def micrometres_per_pixel(file: Any, page: Any) -> float | None:
    """The scale of the full-size page of a `tifffile.TiffFile`; None if the file has no reliable one.

    The units of OME metadata and of ImageJ are trusted. The resolution tags are trusted if their unit is the centimetre
    or the inch and the scale is below `MAX_SCALE`: editors write 72, 96 or 300 dots per inch (353, 265, 85 micrometres)
    into every picture. Scales of the two axes that differ by more than 1 % are ignored.
    """
    axes = _ome_scale(file) or _imagej_scale(file, page) or _resolution_scale(page)
    if axes is None or not all(math.isfinite(scale) and scale > 0 for scale in axes):
        return None
    return math.sqrt(axes[0] * axes[1]) if math.isclose(*axes, rel_tol=0.01) else None


def _to_eight_bits(samples: Samples, bits: int) -> NDArray[np.uint8]:
    """Scale 0 .. 2**bits - 1 to 0 .. 255; larger samples, which the search for the maximum missed, become white."""
    if samples.dtype == np.uint8 and bits == 8:
        return samples.astype(np.uint8, copy=False)
    ceiling = 2**bits - 1
    table = to_eight_bits(np.minimum(np.arange(2**16), ceiling))
    return table[samples]


def _ome_scale(file: Any) -> tuple[float, float] | None:
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
    except Exception:  # metadata can be malformed in any way
        return None
    return x, y


def _imagej_scale(file: Any, page: Any) -> tuple[float, float] | None:
    unit = (file.imagej_metadata or {}).get("unit")
    if unit not in MICROMETRES:
        return None
    x, y = page.get_resolution()
    return MICROMETRES[unit] / x, MICROMETRES[unit] / y


def _resolution_scale(page: Any) -> tuple[float, float] | None:
    if page.resolutionunit not in (_INCH, _CENTIMETRE) or "XResolution" not in page.tags:
        return None
    x, y = page.get_resolution(_MICROMETRE)
    return (1 / x, 1 / y) if x > 1 / MAX_SCALE else None
