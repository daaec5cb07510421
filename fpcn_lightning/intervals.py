"""An interval for a share that was counted."""

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

_Z = NormalDist().inv_cdf(0.975)  # standard deviations on each side that hold 95 %


class Interval(NamedTuple):
    """Limits of a share, 0..1."""

    low: float
    high: float


def wilson_interval(right: float, total: int) -> Interval:
    """The 95 % interval for a share of which `right` of `total` were found (Wilson, JASA 1927); 0..1 for none."""
    if not total:
        return Interval(0.0, 1.0)
    share = right / total
    middle, scale = share + _Z**2 / (2 * total), 1 + _Z**2 / total
    half = _Z * sqrt(share * (1 - share) / total + (_Z / (2 * total)) ** 2)
    return Interval(max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0))
