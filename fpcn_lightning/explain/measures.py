"""How well a heat map, or a mask, agrees with the true mask of the object."""

import numpy as np
from numpy.typing import NDArray

Heat = NDArray[np.float32]  # [H, W], >= 0
Region = NDArray[np.bool_]  # [H, W]


def pointing_game(heat: Heat, inside: Region) -> bool:
    """Whether the hottest place is inside the object.

    Source: Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018, without their margin of 15
    pixels. Of several hottest places at least half must be inside. A map without heat is a miss.

    Args:
        heat: [H, W], >= 0.
        inside: bool [H, W], the object.

    Raises:
        ValueError: the shapes differ, or the object is not boolean.
    """
    _check(heat, inside)
    hottest = heat.max()
    return bool(hottest > 0 and inside[heat == hottest].mean() >= 0.5)


def energy_inside(heat: Heat, inside: Region) -> float:
    """Share 0..1 of the heat that is inside the object; NaN for a map without heat.

    Source: the energy-based pointing game of Wang et al., "Score-CAM", CVPR workshops 2020, with masks where they have
    boxes. A map whose smallest value was subtracted (as `heat_maps` does) has a larger share than the original one.

    Args:
        heat: [H, W], >= 0.
        inside: bool [H, W], the object.

    Raises:
        ValueError: the shapes differ, or the object is not boolean.
    """
    _check(heat, inside)
    total = heat.sum(dtype=np.float64)
    return float(heat[inside].sum(dtype=np.float64) / total) if total > 0 else float("nan")


def overlap(found: Region, inside: Region) -> float:
    """Intersection over union 0..1 of a region that was found and the object; NaN where both are empty.

    Args:
        found: bool [H, W].
        inside: bool [H, W], the object.

    Raises:
        ValueError: the shapes differ, or the object is not boolean.
    """
    _check(found, inside)
    union = np.count_nonzero(found | inside)
    return np.count_nonzero(found & inside) / union if union else float("nan")


def above_mean(heat: Heat) -> Region:
    """Where a heat map [H, W] is at least its mean, bool [H, W]; everywhere if it is constant.

    This is the threshold of FPCN's mask (equations 2 and 3, `fpcn_lightning.models.positioning.Positioning`), so that
    a heat map and a mask can be compared.
    """
    above: Region = heat >= heat.mean(dtype=np.float64)
    return above if above.any() else np.ones_like(above)


def _check(found: NDArray[np.float32] | Region, inside: Region) -> None:
    if found.ndim != 2 or found.shape != inside.shape:
        raise ValueError(f"a map {found.shape} and an object {inside.shape} must be of one height and width")
    if inside.dtype != np.bool_:
        raise ValueError(f"the object is {inside.dtype}, but must be true or false at each place")
