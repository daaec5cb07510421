"""Records of earlier versions, converted in memory to those of this version.

Pure functions of plain data, one for each kind of record. They change names only and check nothing: the
reader of a record checks it afterwards. `sweep.json`, `test_predictions.csv`, `metrics.csv`, `heat_maps.csv` and
`heat_maps.json` have the same names in all versions.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

# Dotted config keys of earlier versions, and what they are called now.
RENAMED_CONFIG_KEYS = {
    "report.within.side": "report.within.condition",
    "optimisation.thaw_from_best": "optimisation.unfreeze_from_best",
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
    """A copy of the config of an earlier version, with what stands under an old dotted key moved to the new one.

    Args:
        config: nested mappings, as JSON has them; anything else is returned as it is.
        renamed: dotted keys, old to new.
    """
    config = copy.deepcopy(config)
    for old, new in renamed.items():
        *section, last = old.split(".")
        before = _section(config, section)
        if before is not None and last in before:
            *section, last_now = new.split(".")
            after = _section(config, section)
            if after is not None:
                after[last_now] = before.pop(last)
    return config


def _section(config: Any, keys: Sequence[str]) -> dict[str, Any] | None:
    """The mapping below `config` under these keys; None where there is none."""
    for key in keys:
        config = config.get(key) if isinstance(config, dict) else None
    return config if isinstance(config, dict) else None


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A mapping with other names for some of its keys, in the same order; anything else is returned as it is."""
    return {names.get(key, key): item for key, item in value.items()} if isinstance(value, dict) else value
