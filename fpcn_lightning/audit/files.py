"""Files that cannot be used, and those that can but deserve a look."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fpcn_lightning.audit.findings import Finding, Kind, Severity
from fpcn_lightning.data.images.signatures import format_of, format_of_suffix
from fpcn_lightning.data.index import Index, IndexedImage

_SMALL_SIDE = 96  # pixels: less is enlarged more than twice for most networks
_LONG = 4  # times as long as wide
_PLAIN = 3.0  # standard deviation of all samples, 0 to 255


def unreadable(index: Index, allowed_share: float) -> list[Finding]:
    """A finding for each refused file, and one if they are more than the allowed share, 0..1, of all files."""
    found = [
        Finding(Kind.UNREADABLE, Severity.WARNING, item.reason, image=item.name, label=item.label)
        for item in index.refused
    ]
    total = len(index.refused) + len(index.pictures)
    share = len(index.refused) / total
    if share > allowed_share:
        detail = (
            f"{len(index.refused):,} of {total:,} files cannot be read, a training stops above "
            f"data.max_unreadable_share={allowed_share:g}"
        )
        found.append(Finding(Kind.UNREADABLE_SHARE, Severity.SERIOUS, detail, score=share))
    return found


def suspicious(
    pictures: Sequence[IndexedImage], formats: Sequence[str], read: Callable[[int], NDArray[np.uint8]]
) -> list[Finding]:
    """Findings about files whose suffix is wrong, and about images that are tiny, very long, or plain.

    Args:
        pictures: of the index.
        formats: of the content of each, as `format_of` names it.
        read: reads the image at a position, uint8 [H, W, 3].
    """
    found = []
    for position, (picture, format_name) in enumerate(zip(pictures, formats, strict=True)):
        for reason in _reasons(picture, format_name, read(position)):
            found.append(Finding(Kind.SUSPICIOUS, Severity.NOTE, reason, image=picture.name, label=picture.label))
    return found


def read_formats(pictures: Sequence[IndexedImage]) -> list[str]:
    """The format of the content of each file."""
    return [format_of(picture.path) for picture in pictures]


def _reasons(picture: IndexedImage, format_name: str, pixels: NDArray[np.uint8]) -> list[str]:
    reasons = []
    if format_name != format_of_suffix(picture.path.suffix):
        reasons.append(f"the file is {format_name}, its suffix is {picture.path.suffix}")
    short, long = sorted((picture.height, picture.width))
    if short < _SMALL_SIDE:
        reasons.append(f"only {picture.width} x {picture.height} pixels")
    if long > _LONG * short:
        reasons.append(f"{picture.width} x {picture.height} pixels: resizing to a square distorts it")
    if pixels.std() < _PLAIN:
        reasons.append("nearly all pixels have one colour")
    return reasons
