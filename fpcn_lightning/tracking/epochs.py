"""The epoch that is logged with metrics, counted from 1."""

from collections.abc import Mapping

_EPOCH = "epoch"


def from_one(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics as Lightning passes them to a logger, with their epoch counted from 1.

    During training, Lightning gives the number of the epoch counted from 0. With metrics of the test it gives the
    number of epochs that are finished, which is that of the last one counted from 1.
    """
    counted = dict(metrics)
    if _EPOCH in counted and not any(name.startswith("test/") for name in counted):
        counted[_EPOCH] += 1
    return counted
