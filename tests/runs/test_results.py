import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.runs.results import Metrics, Result, find_results, read_result, write_result


def make_metrics(correct: int = 45, images: int = 60) -> Metrics:
    accuracy = correct / images
    return {
        "accuracy": accuracy,
        "accuracy_standard_error": (accuracy * (1 - accuracy) / images) ** 0.5,
        "macro_f1": max(accuracy - 0.01, 0.0),
        "macro_recall": accuracy,
        "loss": 0.5,
        "images": images,
        "confusion": [[correct, 0], [images - correct, 0]],
    }


def make_result(variant: str = "plain", seed: int = 0, correct: int = 45, **changes: Any) -> Result:
    result: Result = {
        "schema": 2,
        "experiment": "demo",
        "variant": variant,
        "seed": seed,
        "status": "finished",
        "error": None,
        "started": "2024-05-01T12:00:00+00:00",
        "seconds": {"total": 30.0 + seed, "fit": 20.0 + seed, "test": 2},
        "code": {"version": "0.1.0", "commit": None, "dirty": None},
        "packages": {"torch": "2.9.0"},
        "device": "cpu",
        "config": {
            "seed": seed,
            "output": f"out/{seed}",
            "model": {"theta": 0.5, "blocks": [1, 2]},
            "data": {"split": {"seed": 7}},
            "logger": {"csv": {"save_dir": f"out/{seed}"}},
            "callbacks": {"checkpoint": {"dirpath": f"out/{seed}/checkpoints"}},
        },
        "config_hash": "c0ffee",
        "data": {
            "classes": ["basalt", "гранит"],
            "fingerprint": "abc",
            "images": {"train": 100, "val": 20, "test": 60},
            "refused": 0,
        },
        "network": {"parameters": 4_008_829, "macs": 384_800_000, "input_size": 224, "weights": "imagenet"},
        "metrics": {
            "val": {"as_trained": make_metrics(correct)},
            "test": {"as_trained": make_metrics(correct)},
        },
        "inference_mode": "as_trained",
        "checkpoint": "checkpoints/best.ckpt",
        "epochs": 8,
    }
    result.update(changes)  # type: ignore[typeddict-item]
    return copy.deepcopy(result)


def make_failed(**changes: Any) -> Result:
    absent: dict[str, Any] = dict.fromkeys(("data", "network", "metrics", "inference_mode", "checkpoint", "epochs"))
    return make_result(**(absent | {"status": "failed", "error": "the disk is full"} | changes))


def write_raw(folder: Path, record: object) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    return path


@pytest.mark.parametrize("result", [make_result(), make_failed()])
def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path: Path, result: Result) -> None:
    path = write_result(tmp_path / "new" / "run", result)

    assert read_result(path) == result
    assert [file.name for file in path.parent.iterdir()] == ["result.json"]


def test_writing_replaces_the_earlier_record(tmp_path: Path) -> None:
    write_result(tmp_path, make_failed(status="running"))
    write_result(tmp_path, make_result())

    assert read_result(tmp_path / "result.json")["status"] == "finished"


def test_a_diverged_loss_is_written_as_null_in_strict_json(tmp_path: Path) -> None:
    result = make_result()
    assert result["metrics"]
    result["metrics"]["test"]["as_trained"]["loss"] = float("nan")
    path = write_result(tmp_path, result)

    read = read_result(path)
    assert read["metrics"]
    assert read["metrics"]["test"]["as_trained"]["loss"] is None
    assert "NaN" not in path.read_text(encoding="utf-8")


def test_a_broken_record_is_not_written(tmp_path: Path) -> None:
    write_result(tmp_path, make_result())

    with pytest.raises(ValueError, match="'epochs' is str, not int"):
        write_result(tmp_path, make_result(epochs="eight"))
    assert read_result(tmp_path / "result.json") == make_result()


def test_keys_beyond_the_contract_are_kept(tmp_path: Path) -> None:
    record: dict[str, Any] = {**make_result(), "weather": "outputs/weather"}
    assert {**read_result(write_raw(tmp_path, record))} == record


@pytest.mark.parametrize("key", sorted(Result.__required_keys__))
def test_each_missing_key_is_named(tmp_path: Path, key: str) -> None:
    record: dict[str, Any] = {**make_result()}
    del record[key]
    with pytest.raises(UserError, match=f"result.json.*'{key}' is missing"):
        read_result(write_raw(tmp_path, record))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("schema",), 3, "schema version 3, this program reads versions 1 and 2"),
        (("seed",), True, "'seed' is bool, not int"),
        (("seed",), "0", "'seed' is str, not int"),
        (("status",), "done", "'status' is 'done', not one of 'finished', 'failed', 'running', 'interrupted'"),
        (("code", "dirty"), "no", "'code.dirty' is str, not bool"),
        (("packages", "torch"), 2.9, "'packages.torch' is float, not str"),
        (("data", "classes", 1), None, "'data.classes.1' is NoneType, not str"),
        (("data", "images"), [100], "'data.images' is list, not dict"),
        (("metrics", "test", "as_trained", "accuracy"), None, "'metrics.test.as_trained.accuracy' is NoneType"),
        (("metrics", "test", "as_trained", "confusion", 0, 1), 0.5, "'metrics.test.as_trained.confusion.0.1' is float"),
        (("metrics",), None, "'metrics' is null although the run finished"),
        (("network", "training_macs"), 0.5, "'network.training_macs' is float, not int"),
        (("images_per_second",), {"training": 1.0}, "'images_per_second.inference' is missing"),
    ],
)
def test_each_wrong_value_is_named(tmp_path: Path, place: tuple[Any, ...], value: object, message: str) -> None:
    record: Any = make_result()
    target = record
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    path = write_raw(tmp_path, record)

    with pytest.raises(UserError) as caught:
        read_result(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b'{"schema": 1, "exp', b"[]", b'{"schema": NaN}', b"\xff\xfe\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"result\.json is"):
        read_result(path)


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"result\.json cannot be read"):
        read_result(tmp_path / "result.json")
    with pytest.raises(UserError, match="nowhere is not a folder"):
        find_results(tmp_path / "nowhere")


def test_results_are_found_at_any_depth_and_sorted_by_number(tmp_path: Path) -> None:
    places = {"": ("plain", 10), "a": ("plain", 2), "b/c/d": ("fpcn", 0), "b": ("plain", 0)}
    for folder, (variant, seed) in places.items():
        write_result(tmp_path / folder, make_result(variant, seed))
    (tmp_path / "empty").mkdir()

    found = [(folder, result["variant"], result["seed"]) for folder, result in find_results(tmp_path)]

    assert found == [
        (tmp_path / "b/c/d", "fpcn", 0),
        (tmp_path / "b", "plain", 0),
        (tmp_path / "a", "plain", 2),
        (tmp_path, "plain", 10),
    ]
    assert find_results(tmp_path / "empty") == []


def test_damaged_records_are_collected_where_there_is_a_place_for_them(tmp_path: Path) -> None:
    write_result(tmp_path / "good", make_result())
    for name in ("bad", "worse"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{", encoding="utf-8")
    unreadable: list[str] = []
    assert [folder.name for folder, _ in find_results(tmp_path, unreadable)] == ["good"]
    assert [str(tmp_path / name) in said for name, said in zip(("bad", "worse"), unreadable, strict=True)] == [True] * 2


def test_what_runs_of_earlier_versions_lack_can_be_written_and_read(tmp_path: Path) -> None:
    result = make_result()
    assert "images_per_second" not in result
    assert result["network"]
    result["network"]["training_macs"] = 5
    result["images_per_second"] = {"training": None, "inference": 3.5}
    assert read_result(write_result(tmp_path, result)) == result


def test_one_damaged_record_is_not_passed_over(tmp_path: Path) -> None:
    write_result(tmp_path / "good", make_result())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="bad"):
        find_results(tmp_path)


def test_a_path_that_is_not_utf_8_is_written_and_read_again(tmp_path: Path) -> None:
    result = make_result()
    result["config"]["data"] = {"root": "/photos/gr\udce8s", "split": {"seed": 7}}
    path = write_result(tmp_path, result)
    path.read_bytes().decode("utf-8")
    assert read_result(path)["config"]["data"] == {"root": "/photos/gr\udce8s", "split": {"seed": 7}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("accuracy", 1.5, "accuracy' is not in 0..1"),
        ("macro_f1", -0.1, "macro_f1' is not in 0..1"),
        ("loss", -1.0, "loss' is negative"),
        ("images", -60, "negative number of images"),
        ("images", 61, "does not count each of the 61 images once"),
        ("confusion", [[60]], "is not 2 rows of 2 numbers"),
        ("confusion", [[61, 0], [-1, 0]], "negative number of images"),
    ],
)
def test_metrics_that_no_evaluation_gives_are_refused(tmp_path: Path, key: str, value: object, message: str) -> None:
    result = make_result()
    assert result["metrics"]
    result["metrics"]["test"]["as_trained"][key] = value  # type: ignore[literal-required]
    with pytest.raises(UserError, match=message):
        read_result(write_raw(tmp_path, result))


def test_a_confusion_matrix_has_a_line_a_row(tmp_path: Path) -> None:
    """With a line for each number, a thousand classes would take 14 MB for each matrix."""
    result = make_result()
    assert result["metrics"]
    assert result["data"]
    number = 300
    matrix = [[int(row == column) for column in range(number)] for row in range(number)]
    result["data"]["classes"] = [f"rock {each}" for each in range(number)]
    for by_mode in (result["metrics"]["val"], result["metrics"]["test"]):
        by_mode["as_trained"] |= {"confusion": matrix, "images": number}
    path = write_result(tmp_path, result)
    assert read_result(path) == result
    assert path.stat().st_size < 4 * number**2 * 2
