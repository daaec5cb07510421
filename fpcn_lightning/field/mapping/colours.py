"""Samples of a TIFF to eight-bit colours by the rule of `fpcn_lightning.data.images`, with one factor for the whole.

A window that was scaled by its own brightest pixel would change its colours with its surroundings, so what stands for
white is found once for a section.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.images import SENSOR_BITS, to_eight_bits

MIN_IS_WHITE, MIN_IS_BLACK, RGB, YCBCR = 0, 1, 2, 6  # TIFF's photometric interpretations

LEAST_OPACITY = 128  # of 255: what is more transparent shows nothing

Samples = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Colours:
    """How the samples of one TIFF become colours.

    Args:
        photometric: what the samples mean: `MIN_IS_WHITE`, `MIN_IS_BLACK`, `RGB`, or `YCBCR` that was decoded to RGB.
        alpha: the sample after the colours says how opaque a pixel is; it is laid on white.
        colour_bits: the range of the colours, one of `SENSOR_BITS`.
        alpha_bits: likewise of alpha.
    """

    photometric: int
    alpha: bool
    colour_bits: int = 8
    alpha_bits: int = 8

    @property
    def count(self) -> int:
        """How many of a pixel's samples are colours."""
        return 3 if self.photometric in (RGB, YCBCR) else 1

    def ranged(self, colour_bits: int, alpha_bits: int) -> "Colours":
        """The same with other ranges."""
        return replace(self, colour_bits=colour_bits, alpha_bits=alpha_bits)

    def __call__(self, samples: Samples) -> NDArray[np.uint8]:
        """Colours of samples [H, W, S] as uint8 [H, W, 3], or [H, W, 1] where all three are the same."""
        colour = _scaled(samples[..., : self.count], self.colour_bits)
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
        """Which of samples [H, W, S] show something, bool [H, W]; None where all do."""
        if not self.alpha:
            return None
        opaque = self._opacity(samples) >= LEAST_OPACITY
        return None if opaque.all() else opaque

    def _opacity(self, samples: Samples) -> NDArray[np.uint8]:
        return _scaled(samples[..., self.count], self.alpha_bits)


def bits_of(maximum: int) -> int:
    """The smallest range of a sensor that holds a sample."""
    return next(bits for bits in SENSOR_BITS if maximum < 2**bits)


def _scaled(samples: Samples, bits: int) -> NDArray[np.uint8]:
    """Scale 0 .. 2**bits - 1 to 0 .. 255; what lies above, which the search for the maximum missed, is white."""
    if samples.dtype == np.uint8 and bits == 8:
        return samples.astype(np.uint8, copy=False)
    ceiling = 2**bits - 1
    table = to_eight_bits(np.minimum(np.arange(2**16), ceiling))
    return table[samples]
