"""A record of schema version 1 as it was written, but for some config keys, and what this version makes of it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.report.settings import read_settings
from fpcn_lightning.runs.results import SCHEMA_VERSION, read_result, write_result
from fpcn_lightning.runs.upgrade import rename_config_keys, upgrade_result, upgrade_split_row

PATH = Path(__file__).parent / "result_version_1.json"
OLD: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))


def test_a_record_of_version_1_is_read_as_one_of_this_version(tmp_path: Path) -> None:
    result = read_result(PATH)
    assert result["schema"] == SCHEMA_VERSION
    assert result["inference_mode"] == OLD["reading"] == "as_trained"
    assert result["data"]
    assert result["data"]["images"] == {"train": 108, "val": 36, "test": 36}
    assert result["metrics"]
    assert list(result["metrics"]) == ["val", "test"]
    assert result["metrics"]["val"]["as_trained"]["accuracy"] == OLD["metrics"]["validation"]["as_trained"]["accuracy"]
    assert "reading" not in result
    assert read_result(write_result(tmp_path, result)) == result


def test_all_that_has_the_same_name_is_kept() -> None:
    upgraded = upgrade_result(OLD)
    changed = {"schema", "reading", "inference_mode", "data", "metrics", "config"}
    assert {**upgraded, **dict.fromkeys(changed)} == {**OLD, **dict.fromkeys(changed)}
    assert {key: upgraded["data"][key] for key in ("classes", "fingerprint", "refused")} == {
        key: OLD["data"][key] for key in ("classes", "fingerprint", "refused")
    }


def test_the_config_has_todays_keys() -> None:
    result = read_result(PATH)
    within = read_settings([(PATH.parent, result)]).get("within")
    assert within == {"group": "fpcn", "condition": "varied", "baseline": "varied"}
    optimisation: Any = result["config"]["optimisation"]
    assert optimisation == {"learning_rate": 0.01, "schedule": "cosine", "unfreeze_from_best": False}


def test_what_is_given_stays_as_it_was() -> None:
    before = copy.deepcopy(OLD)
    upgrade_result(OLD)
    assert before == OLD


@pytest.mark.parametrize("part", ["data", "metrics", "config"])
@pytest.mark.parametrize("value", [None, [], "text", {}])
def test_a_damaged_record_is_left_to_the_check(part: str, value: object) -> None:
    assert upgrade_result({**OLD, part: value})["schema"] == SCHEMA_VERSION


def test_a_config_key_may_move_to_another_section() -> None:
    config = {"a": {"x": 1, "y": 2}, "b": {}, "c": None}
    assert rename_config_keys(config, {"a.x": "b.z", "a.y": "c.y", "c.x": "a.w"}) == {
        "a": {"y": 2},
        "b": {"z": 1},
        "c": None,
    }


def test_rows_of_an_earlier_split_are_those_of_todays() -> None:
    rows = [{"name": "a.jpg", "side": side, "group": ""} for side in ("train", "validation", "test", "dropped")]
    upgraded = [upgrade_split_row(row) for row in rows]
    assert [row["split"] for row in upgraded] == ["train", "val", "test", "dropped"]
    assert [list(row) for row in upgraded] == [["name", "split", "group"]] * 4
    assert [upgrade_split_row(row) for row in upgraded] == upgraded
