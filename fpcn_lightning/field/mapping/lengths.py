"""Lengths on a section, for people."""

import math

_LEAST_SHARE = 0.2  # of the width: shorter scale bars are hard to read off


def metric(micrometres: float) -> str:
    """A length in the largest unit of which it has one at least."""
    for unit, name in ((10_000, "cm"), (1000, "mm")):
        if micrometres >= unit:
            return f"{micrometres / unit:.3g} {name}"
    return f"{micrometres:.3g} um"


def round_length(width: float, micrometres_per_pixel: float | None) -> tuple[float, str]:
    """A length for a scale bar: 1, 2 or 5 of something, from a fifth to half of `width` pixels, at least one of them.

    Returns:
        It in pixels, and in words.
    """
    scale = micrometres_per_pixel or 1.0
    least = max(_LEAST_SHARE * width, 1) * scale
    power = 10.0 ** math.floor(math.log10(least))
    length = next(step * power for step in (1, 2, 5, 10) if step * power >= least)
    return length / scale, f"{length:g} px (scale unknown)" if micrometres_per_pixel is None else metric(length)
