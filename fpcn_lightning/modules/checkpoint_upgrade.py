"""Converts the records of checkpoints that earlier versions wrote."""

from collections.abc import Mapping
from typing import Any

from fpcn_lightning.runs.upgrade import rename_config_keys

NOT_NEEDED = ("optimisation", "optimizer", "loss")  # to rebuild, test or export a network


def upgrade(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a checkpoint of version 1 as one of version 2; any other as it is.

    Raises:
        KeyError, TypeError, AttributeError: it is not a record.
    """
    record["data"]["crop"]  # without the size of its images a network cannot be built
    if record["schema"] != 1:
        return dict(record)
    upgraded = {key: value for key, value in rename_config_keys(dict(record)).items() if key not in NOT_NEEDED}
    return upgraded | {"schema": 2}
