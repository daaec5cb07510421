"""The store of a teacher's logits: what is computed, what is read back, and what is refused."""

import json
import multiprocessing
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fpcn_lightning.data.logits_store import KEY_NAME, LogitsStore, store_name
from fpcn_lightning.errors import UserError

PICTURES, CLASSES = 5, 3
KEY = {"teacher": "a" * 64, "data": "f00d", "views": {"crop": 64, "resize": 72, "seed": 0}}


def predictions(epoch: int) -> NDArray[np.float32]:
    numbers = np.arange(PICTURES * CLASSES, dtype=np.float32).reshape(PICTURES, CLASSES)
    return numbers + 100 * epoch


def store(folder: Path, key: Mapping[str, Any] = KEY) -> LogitsStore:
    return LogitsStore(folder / "store", key, PICTURES, CLASSES)


def test_every_epoch_is_computed_once_and_read_back_unchanged(tmp_path: Path) -> None:
    computed: list[int] = []

    def prediction(epoch: int) -> NDArray[np.float32]:
        computed.append(epoch)
        return predictions(epoch)

    assert store(tmp_path).fill(3, prediction) == 3
    again = store(tmp_path)
    assert again.fill(3, prediction) == 0
    assert computed == [0, 1, 2]
    for epoch in (2, 0, 1):
        np.testing.assert_array_equal(again.epoch(epoch), predictions(epoch))


def test_an_interrupted_computation_continues_and_a_longer_training_adds_epochs(tmp_path: Path) -> None:
    def breaks(epoch: int) -> NDArray[np.float32]:
        if epoch == 2:
            raise KeyboardInterrupt
        return predictions(epoch)

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path).fill(4, breaks)
    done: list[int] = []
    assert store(tmp_path).fill(4, predictions, done.append) == 2
    assert done == [2, 3]
    assert store(tmp_path).fill(6, predictions) == 2
    assert not list((tmp_path / "store").glob(".*.npy*"))


def slow_predictions(epoch: int) -> NDArray[np.float32]:
    time.sleep(0.2)
    return predictions(epoch)


def fill(folder: Path, counts: Any) -> None:
    counts.put(store(folder).fill(6, slow_predictions))


@pytest.mark.slow
def test_two_processes_divide_the_epochs(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    counts = context.Queue()
    both = [context.Process(target=fill, args=(tmp_path, counts)) for _ in range(2)]
    for process in both:
        process.start()
    computed = [counts.get(timeout=60) for _ in both]
    for process in both:
        process.join()
    assert sum(computed) == 6
    assert all(np.array_equal(store(tmp_path).epoch(epoch), predictions(epoch)) for epoch in range(6))


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"teacher": "b" * 64}, "teacher"),
        ({"data": "beef"}, "data"),
        ({"views": {"crop": 64, "resize": 72, "seed": 1}}, r"views\.seed"),
        ({"views": {"crop": 32, "resize": 72, "seed": 0}}, r"views\.crop"),
    ],
)
def test_a_stale_store_is_refused_with_the_reason(tmp_path: Path, changed: dict[str, Any], named: str) -> None:
    store(tmp_path).fill(1, predictions)
    with pytest.raises(UserError, match=rf"is stale: its {named} is"):
        store(tmp_path, KEY | changed)
    assert store_name(KEY) != store_name(KEY | changed)


def test_a_folder_of_something_else_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.txt").write_text("three years of work")
    with pytest.raises(UserError, match="not a store"):
        store(tmp_path)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"\x80\x04cos\nsystem\n"])
def test_a_damaged_epoch_is_named(tmp_path: Path, content: bytes) -> None:
    store(tmp_path).fill(1, predictions)
    (tmp_path / "store" / "epoch-0000.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"epoch-0000\.npy"):
        store(tmp_path).epoch(0)


def test_an_epoch_of_other_pictures_or_of_objects_is_refused(tmp_path: Path) -> None:
    store(tmp_path).fill(1, predictions)
    path = tmp_path / "store" / "epoch-0000.npy"
    np.save(path, predictions(0)[:-1])
    with pytest.raises(UserError, match="5 pictures"):
        store(tmp_path).epoch(0)
    np.save(path, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="cannot be read"):
        store(tmp_path).epoch(0)


def test_a_damaged_key_is_named(tmp_path: Path) -> None:
    store(tmp_path)
    (tmp_path / "store" / KEY_NAME).write_text("{")
    with pytest.raises(UserError, match=r"key\.json is damaged"):
        store(tmp_path)
    (tmp_path / "store" / KEY_NAME).write_text(json.dumps([1]))
    with pytest.raises(UserError, match="stale"):
        store(tmp_path)


def test_logits_of_a_diverged_teacher_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged"):
        store(tmp_path).fill(1, lambda _: np.full((PICTURES, CLASSES), np.nan, np.float32))
    assert not store(tmp_path).has(0)
