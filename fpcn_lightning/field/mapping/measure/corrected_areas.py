"""Shares of the classes in a section, corrected for the errors of the network that its confusion matrix shows.

A network that takes a tenth of one mineral for another counts too little of the one and too much of the other, all
over a section. The confusion matrix of single windows, measured on test pictures, says how much: counted shares are the
true shares times the rates of confusion, and are solved for the true ones (Rogan and Gladen, American Journal of
Epidemiology 107, 1978, for two classes; "adjusted count" in the literature on quantification).

The correction holds where the section is confused as the test pictures are. Boundaries between grains, which no test
picture shows, and minerals that are none of the classes are not in it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

DRAWS, FEWEST_DRAWS, MANY_CLASSES = 1000, 200, 40
_PERCENTILES = (2.5, 97.5)

Floats = NDArray[np.float64]


class CorrectedShare(NamedTuple):
    """The corrected share of a class, and its 95 % interval; 0..1."""

    value: float
    low: float
    high: float


def corrected_shares(counted: Floats, confusion: Floats, regions: float, seed: int = 0) -> list[CorrectedShare] | None:
    """The share of each class, corrected, with an interval.

    The interval contains two errors: the rates of confusion are known from few test pictures (drawn from their
    Dirichlet distribution, with one picture in all added to each class), and in a section of few grains the confusions
    that happen differ from their rates (drawn from multinomial distributions over `regions`).

    Args:
        counted: [C], sums to 1: shares as the map shows them.
        confusion: [C, C], number of test pictures of each class (rows) by the class that was predicted (columns), with
            fractions where windows of one picture differ.
        regions: number of parts of the section that are confused independently, at least 1.
        seed: of the draws.

    Returns:
        None where a class has no test picture, so that its rates are not known.
    """
    pictures = confusion.sum(1)
    if not (pictures > 0).all():
        return None
    classes = len(counted)
    estimate = _solved(confusion / pictures[:, None], counted)
    generator = np.random.default_rng(seed)
    parts = np.maximum(1, np.rint(regions * estimate)).astype(np.int64)
    found = []
    for _ in range(DRAWS if classes <= MANY_CLASSES else FEWEST_DRAWS):
        rates = np.stack([generator.dirichlet(row + 1 / classes) for row in confusion])
        happened = np.stack([generator.multinomial(count, row) for count, row in zip(parts, rates, strict=True)])
        deviation = estimate @ (happened / parts[:, None] - rates)
        found.append(_solved(rates, counted + deviation))
    low, high = np.percentile(found, _PERCENTILES, axis=0)
    limits = np.minimum(low, estimate), np.maximum(high, estimate)
    return [CorrectedShare(*map(float, values)) for values in zip(estimate, *limits, strict=True)]


def independent_regions(areas: Floats) -> float:
    """The number of equally large regions that have the same variance as regions of these `areas`, at least 1.

    Places of one grain are mostly confused together: regions are the connected areas of one class. Their number is
    (sum a)^2 / sum a^2, as Kish's effective sample size.
    """
    total = areas.sum()
    return max(1.0, float(total**2 / (areas**2).sum())) if total > 0 else 1.0


def _solved(rates: Floats, counted: Floats) -> Floats:
    """The shares, at least 0 and with a sum of 1, that these rates of confusion turn into the counted ones."""
    shares = np.asarray(nnls(rates.T, np.clip(counted, 0, None))[0], np.float64)
    total = shares.sum()
    return shares / total if total > 0 else np.full(len(counted), 1 / len(counted))
