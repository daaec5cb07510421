"""Reads image files: a file in, uint8 RGB out, or the reason why it cannot be read.

Training and deployment both read through this package, so that both see the same pixels and refuse the same files. It
needs Pillow, NumPy, tifffile and simplejpeg, nothing else. `ImageReader` reads in helper processes, with a limit on
time and memory; everything else may be called from several threads at once.

**Colours.** Eight bits a channel, RGB, turned upright by the EXIF orientation. Transparent pixels are blended with
white. Colour profiles are not applied. Samples of more than eight bits are scaled, never clipped (see `to_eight_bits`,
also for missing samples); of a PNG with 16 bits a channel in more than one channel the high bytes are used, because the
samples of this format fill their range. A TIFF that keeps its colours in separate pages is refused. Of an animation or
a file of several pictures the first is read.

**Damage.** A file that is incomplete or damaged is refused as far as its format allows to see it: `structure.py`.

**Limits.** `ImageLimits`: the size of the file is checked before it is read, the number of pixels before it is decoded.

**Resizing.** `read_resized` resizes the whole image to the given height and width with Pillow's antialiased bilinear
filter, or makes a square of it (`SquareFit`). A JPEG is first decoded at 1/2, 1/4 or 1/8 of its size, whichever is the
smallest that still has at least twice the longer side of the target in both directions.
"""

from fpcn_lightning.data.images.decoding import SUFFIXES, Decoded, decode, open_image, read_resized
from fpcn_lightning.data.images.files import read_file
from fpcn_lightning.data.images.fit import FILL, Area, Fill, SquareFit
from fpcn_lightning.data.images.limits import DEFAULT_LIMITS, ImageLimits, UnreadableImage
from fpcn_lightning.data.images.reader import ImageReader
from fpcn_lightning.data.images.scaling import SENSOR_BITS, to_eight_bits
from fpcn_lightning.data.images.shapes import Shape, ShapeRule

__all__ = [
    "DEFAULT_LIMITS",
    "FILL",
    "SENSOR_BITS",
    "SUFFIXES",
    "Area",
    "Decoded",
    "Fill",
    "ImageLimits",
    "ImageReader",
    "Shape",
    "ShapeRule",
    "SquareFit",
    "UnreadableImage",
    "decode",
    "open_image",
    "read_file",
    "read_resized",
    "to_eight_bits",
]
