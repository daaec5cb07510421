"""Records of earlier versions, converted in memory to those of this version.

Pure functions of plain data, one for each kind of record. They change names only and check nothing: the
reader of a record checks it afterwards. `sweep.json`, `test_predictions.csv`, `metrics.csv`, `heat_maps.csv` and
`heat_maps.json` have the same names in all versions.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

# Dotted config keys of earlier versions, and what they are called now. A weight of the loss comes before the other keys
# of its term, because it was a number where there is a section now.
RENAMED_CONFIG_KEYS = {
    "optimisation.learning_rate": "optimizer.lr",
    "optimisation.momentum": "optimizer.momentum",
    "optimisation.weight_decay": "optimizer.weight_decay",
    "optimisation.freeze_epochs": "training.freeze_epochs",
    "optimisation.frozen_batch_norm": "training.frozen_batch_norm",
    "optimisation.frozen_learning_rate": "training.frozen_lr",
    "optimisation.frozen_weight_decay": "training.frozen_weight_decay",
    "optimisation.thaw_from_best": "training.unfreeze_from_best",
    "optimisation.head_learning_rate_factor": "training.head_lr_factor",
    "optimisation.channels_last": "training.channels_last",
    "loss.classification": "loss.classification.weight",
    "loss.ranking": "loss.ranking.weight",
    "loss.ranking_margin": "loss.ranking.margin",
    "loss.contrastive": "loss.contrastive.weight",
    "loss.contrastive_margin": "loss.contrastive.margin",
    "loss.center": "loss.center.weight",
    "loss.center_update": "loss.center.update",
    "loss.center_rate": "loss.center.rate",
    "loss.center_normalise": "loss.center.normalise",
    "loss.center_reduction": "loss.center.reduction",
    "model.inference": "model.inference_mode",
    "model.most_pairs": "model.max_pairs",
    "data.most_tiles": "data.max_tiles",
    "data.split.validation": "data.split.val",
    "data.split.published.validation": "data.split.published.val",
    "export.most_drop": "export.max_drop",
    "explain.beside": "explain.compare_with",
    "report.within.side": "report.within.condition",
}
_SPLITS = {"validation": "val"}


def upgrade_result(record: Mapping[str, Any]) -> dict[str, Any]:
    """A `result.json` of schema version 1 as one of version 2.

    The splits are called train, val and test (1: `validation`), the way of inference `inference_mode` (1: `reading`),
    and config keys as in `RENAMED_CONFIG_KEYS`. The config hash stays what it was.
    """
    upgraded = {**record, "schema": 2}
    if "reading" in upgraded:
        upgraded["inference_mode"] = upgraded.pop("reading")
    if isinstance(upgraded.get("data"), dict):
        upgraded["data"] = {**upgraded["data"], "images": _renamed(upgraded["data"].get("images"), _SPLITS)}
    upgraded["metrics"] = _renamed(upgraded.get("metrics"), _SPLITS)
    upgraded["config"] = rename_config_keys(upgraded.get("config"))
    return upgraded


def upgrade_split_row(row: Mapping[str, str]) -> dict[str, str]:
    """A row of `split.csv` by column: `split` with train, val, test or dropped (earlier: `side` with `validation`)."""
    upgraded = {"split" if column == "side" else column: cell for column, cell in row.items()}
    if "split" in upgraded:
        upgraded["split"] = _SPLITS.get(upgraded["split"], upgraded["split"])
    return upgraded


def rename_config_keys(config: Any, renamed: Mapping[str, str] = RENAMED_CONFIG_KEYS) -> Any:
    """A copy of the config of an earlier version, with what is under an old dotted key moved to the new one.

    Args:
        config: nested mappings, as JSON has them; anything else is returned as it is.
        renamed: dotted keys, old to new.
    """
    config = copy.deepcopy(config)
    for old, new in renamed.items():
        *section, last = old.split(".")
        before = config
        for key in section:
            before = before.get(key) if isinstance(before, dict) else None
        if isinstance(before, dict) and last in before and not isinstance(before[last], dict):
            value = before.pop(last)
            if not _put(config, new.split("."), value):
                before[last] = value
    return config


def _put(config: Any, keys: Sequence[str], value: Any) -> bool:
    """Set a nested key, whose sections are made where they are missing; False where one of them is no section."""
    *section, last = keys
    for key in section:
        config = config.setdefault(key, {})
        if not isinstance(config, dict):
            return False
    config[last] = value
    return True


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A mapping with other names for some of its keys, in the same order; anything else is returned as it is."""
    return {names.get(key, key): item for key, item in value.items()} if isinstance(value, dict) else value
