"""A section of a kind that can only be opened as a whole."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fpcn_lightning.data.images import SENSOR_BITS, UnreadableImage, decode, read_file
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.colours import LEAST_OPACITY
from fpcn_lightning.field.mapping.segments import Pixels


class WholePicture:
    """A picture that `fpcn_lightning.data.images` opens, held in memory.

    Args:
        path: the file.

    Attributes:
        height: of the picture, pixels.
        width: likewise.
        damaged: always empty; a damaged file is refused.

    Raises:
        UserError: no picture, or one that is damaged or too large.
    """

    def __init__(self, path: Path) -> None:
        try:
            data = read_file(path)
            self._pixels = decode(data).pixels
        except UnreadableImage as error:
            raise UserError(
                f"{path}: {error}. Sections of any size are read from TIFF of 8 or 16 bits, grey or RGB, upright."
            ) from error
        self._opaque = _opaque(data)
        self.height, self.width = self._pixels.shape[:2]
        self.damaged: set[int] = set()

    def read(self, top: int, left: int, bottom: int, right: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """A part inside the picture: colours uint8 [H, W, 3], and which are known, bool [H, W]."""
        place = slice(top, bottom), slice(left, right)
        known = np.ones((bottom - top, right - left), np.bool_) if self._opaque is None else self._opaque[place]
        return self._pixels[place], known


def is_stretched(page: Any) -> bool:
    """Whether `fpcn_lightning.data.images.to_eight_bits` stretches the samples of a `tifffile.TiffPage`."""
    if page.dtype is None or page.dtype.kind not in "iuf" or page.dtype in (np.uint8, np.uint16):
        return False
    try:
        samples = page.asarray()
    except Exception:  # of compressions that Pillow knows and tifffile does not; then it may have been
        return True
    finite = samples[np.isfinite(samples)]
    most = 1 if page.dtype.kind == "f" else 2 ** SENSOR_BITS[-1] - 1
    return bool(finite.size and (finite.min() < 0 or finite.max() > most))


def _opaque(data: bytes) -> NDArray[np.bool_] | None:
    """Which pixels show something, bool [H, W], upright; None where all do."""
    try:
        picture: Image.Image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:  # a deep TIFF that tifffile alone knows
        return None
    with picture:
        picture.load()
        if picture.mode[0] in "IF" or not picture.has_transparency_data:
            return None
        alpha = ImageOps.exif_transpose(picture).convert("RGBA").getchannel("A")
    return np.asarray(alpha) >= LEAST_OPACITY
