"""Records of checkpoints that earlier versions wrote, in today's words."""

from collections.abc import Mapping
from typing import Any

# Keys of version 1 by section, and what they are called today; a key of `optimisation` that is not here is not needed
# to rebuild, test or export a network.
MODEL = {"inference": "inference_mode", "most_pairs": "max_pairs"}
DATA = {"most_tiles": "max_tiles"}
SPLIT = {"validation": "val"}
TRAINING = {
    "freeze_epochs": "freeze_epochs",
    "frozen_batch_norm": "frozen_batch_norm",
    "frozen_learning_rate": "frozen_lr",
    "frozen_weight_decay": "frozen_weight_decay",
    "thaw_from_best": "unfreeze_from_best",
    "head_learning_rate_factor": "head_lr_factor",
    "channels_last": "channels_last",
}


def upgrade(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a checkpoint of version 1 as one of version 2; any other as it is.

    Raises:
        KeyError, TypeError, AttributeError: it is no record.
    """
    upgraded = dict(record)
    record["data"]["crop"]  # without the size of its images a network cannot be built
    if record["schema"] != 1:
        return upgraded
    optimisation = upgraded.pop("optimisation", {})
    upgraded.pop("loss", None)
    split = _renamed(record["data"].get("split", {}), SPLIT)
    if "published" in split:
        split["published"] = _renamed(split["published"], SPLIT)
    return upgraded | {
        "schema": 2,
        "model": _renamed(record["model"], MODEL),
        "data": _renamed(record["data"], DATA) | {"split": split},
        "training": {new: optimisation[old] for old, new in TRAINING.items() if old in optimisation},
    }


def _renamed(section: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in section.items()}
