"""How well a heat map, or a mask, agrees with where the object truly is."""

import numpy as np
from numpy.typing import NDArray

Heat = NDArray[np.float32]  # [H, W], >= 0
Region = NDArray[np.bool_]  # [H, W]


def pointing_game(heat: Heat, inside: Region) -> bool:
    """Whether the hottest place lies inside the object.

    Source: Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018, without their margin of 15
    pixels. Of several hottest places at least half must lie inside. A map without heat points nowhere, which is a miss.

    Args:
        heat: [H, W], >= 0.
        inside: bool [H, W], the object.

    Raises:
        ValueError: other shapes.
    """
    _check(heat, inside)
    hottest = heat.max()
    return bool(hottest > 0 and inside[heat == hottest].mean() >= 0.5)


def energy_inside(heat: Heat, inside: Region) -> float:
    """Share 0..1 of the heat that lies inside the object; NaN for a map without heat.

    Source: the energy-based pointing game of Wang et al., "Score-CAM", CVPR workshops 2020, with masks where they have
    boxes. A map whose smallest value was taken off (as `heat_maps` does) has a larger share than one as it was.

    Args:
        heat: [H, W], >= 0.
        inside: bool [H, W], the object.

    Raises:
        ValueError: other shapes.
    """
    _check(heat, inside)
    total = heat.sum(dtype=np.float64)
    return float(heat[inside].sum(dtype=np.float64) / total) if total > 0 else float("nan")


def overlap(found: Region, inside: Region) -> float:
    """Intersection over union 0..1 of what was found and the object; NaN where both are empty.

    Args:
        found: bool [H, W].
        inside: bool [H, W], the object.

    Raises:
        ValueError: other shapes.
    """
    _check(found, inside)
    union = np.count_nonzero(found | inside)
    return np.count_nonzero(found & inside) / union if union else float("nan")


def above_mean(heat: Heat) -> Region:
    """Where a heat map [H, W] reaches its mean, bool [H, W]; everywhere where it is the same everywhere.

    This is the threshold of FPCN's mask (equations 2 and 3, `fpcn_lightning.models.positioning.Positioning`), so that
    a heat map and a mask can be compared.
    """
    above: Region = heat >= heat.mean(dtype=np.float64)
    return above if above.any() else np.ones_like(above)


def _check(found: NDArray[np.float32] | Region, inside: Region) -> None:
    if found.ndim != 2 or found.shape != inside.shape:
        raise ValueError(f"a map {found.shape} and an object {inside.shape} must be of one height and width")
    if inside.dtype != np.bool_:
        raise ValueError(f"an object is true or false at each place, not {inside.dtype}")
