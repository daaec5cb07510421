"""Heat maps and outlines: where in a picture the network found its class, and its object."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fpcn_lightning.data.augment import LUMINANCE, View
from fpcn_lightning.data.images import Area, Shape

# From low to high: brightness increases evenly, and no two steps differ in red against green alone, so that the colour
# map is also readable with colour blindness.
COLOURS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))

INSIDE = 0.5
"""The least value of an object mask on the object."""

_OPACITY = 0.6
_DIMMED = 0.45  # of the brightness
_LINE = 2  # pixels
_WHOLE = Area()


def heat_map(
    maps: NDArray[np.float32], views: Sequence[View], cut_from: Shape, shape: Shape, area: Area = _WHOLE
) -> NDArray[np.float32]:
    """How much each place of a picture contributes to one class.

    Args:
        maps: float32 [V, h, w], of each view what its places add to the logit of the class.
        views: positions of the V views.
        cut_from: height and width in pixels of the resized picture that the views were cut from.
        shape: height H and width W of the result, which shows the whole picture.
        area: the part of the picture that was resized.

    Returns:
        float32 [H, W]: 1 for the largest contribution to the class, 0 for none or a negative one, NaN outside all
        views. Views that overlap are averaged.
    """
    finite = np.nan_to_num(maps, posinf=0.0, neginf=0.0)  # a bundle may return anything
    heat = _put_together(np.maximum(finite, 0), views, cut_from, shape, area)
    maximum = np.nanmax(heat)
    scaled: NDArray[np.float32] = heat / maximum if maximum > 0 else heat
    return scaled


def object_area(
    masks: NDArray[np.float32], views: Sequence[View], cut_from: Shape, shape: Shape, area: Area = _WHOLE
) -> NDArray[np.bool_]:
    """Where a picture shows the object: bool [H, W], from the masks [V, h, w] of its views; see `heat_map`.

    False outside all views.
    """
    inside: NDArray[np.bool_] = _put_together(masks, views, cut_from, shape, area) >= INSIDE
    return inside


def _put_together(
    maps: NDArray[np.float32], views: Sequence[View], cut_from: Shape, shape: Shape, area: Area
) -> NDArray[np.float32]:
    """The mean of the maps of all views, enlarged to the pixels of the picture [H, W]; NaN outside the views."""
    total = np.zeros(shape, np.float32)
    count = np.zeros(shape, np.float32)
    for values, view in zip(maps, views, strict=True):
        (top, bottom), (left, right) = (
            _span(start, view.side, length, target, first, extent)
            for start, length, target, first, extent in zip(
                (view.top, view.left), cut_from, shape, (area.top, area.left), (area.height, area.width), strict=True
            )
        )
        upright = values[:, ::-1] if view.flipped else values
        enlarged = np.asarray(Image.fromarray(upright).resize((right - left, bottom - top), Image.Resampling.BILINEAR))
        above, before = max(0, -top), max(0, -left)  # what is outside the picture
        seen = enlarged[above : shape[0] - top, before : shape[1] - left]
        place = slice(top + above, top + above + seen.shape[0]), slice(left + before, left + before + seen.shape[1])
        total[place] += seen
        count[place] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.float32(np.nan))


def overlaid(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture in grey with its heat map over it in `COLOURS`.

    Args:
        picture: uint8 [H, W, 3], RGB.
        heat: float32 [H, W] in 0..1, NaN where only the grey picture is shown.

    Returns:
        uint8 [H, W, 3], RGB.
    """
    grey = (picture @ LUMINANCE)[..., None]
    steps = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(heat, steps, channel) for channel in zip(*COLOURS, strict=True)], axis=-1)
    opacity = np.where(np.isnan(heat), 0, _OPACITY)[..., None]
    blend = grey * (1 - opacity) + np.nan_to_num(colours) * opacity
    result: NDArray[np.uint8] = np.rint(blend).astype(np.uint8)
    return result


def outlined(picture: NDArray[np.uint8], inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture whose surroundings are dimmed and grey, with a line around what is inside.

    Args:
        picture: uint8 [H, W, 3], RGB.
        inside: bool [H, W].

    Returns:
        uint8 [H, W, 3], RGB.
    """
    dimmed = (picture @ LUMINANCE)[..., None] * _DIMMED
    result = np.where(inside[..., None], picture, dimmed).round().astype(np.uint8)
    result[_border(inside)] = COLOURS[-1]
    return result


def _border(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels outside, at most `_LINE` from one inside."""
    height, width = inside.shape
    padded = np.pad(inside, _LINE)
    shifts = range(2 * _LINE + 1)
    near = np.stack([padded[y : y + height, x : x + width] for y in shifts for x in shifts]).any(axis=0)
    border: NDArray[np.bool_] = near & ~inside
    return border


def _span(start: int, size: int, length: int, target: int, first: float, extent: float) -> tuple[int, int]:
    """First pixel and end of a view along one axis, in a picture of `target` pixels.

    `length` pixels that the view was cut from show the picture from `first` on, `extent` of it, as shares of its size.
    """
    begin, end = (round((first * length + edge * extent) * target / length) for edge in (start, start + size))
    return begin, max(end, begin + 1)
