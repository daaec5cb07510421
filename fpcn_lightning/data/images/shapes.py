"""The size that an image is wanted at."""

from collections.abc import Callable

Shape = tuple[int, int]  # height and width in pixels
ShapeRule = Callable[[int, int], Shape]
"""The size for the height and the width of the upright image; it must be possible to pickle it."""
