"""A bundle may come from an unknown source: any content of its folder is read or refused with a message."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fpcn_lightning.data.augment import Squashing
from fpcn_lightning.data.tiles import Tiling
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.bundle import read_bundle
from fpcn_lightning.field.manifest import CARD_NAME, LABELS_NAME, MANIFEST_NAME
from tests.field.conftest import MakeBundle, described


def test_a_bundle_is_read(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    assert bundle.classes == ("red", "green", "blue")
    assert bundle.views == Squashing(crop=32, resize=32)
    assert (bundle.default, bundle.coverage, bundle.lineage["seed"]) == ("model.onnx", 0.95, 0)
    assert bundle.model_bytes("model.onnx") == (bundle_folder / "model.onnx").read_bytes()


def test_views_can_be_tiles(make_bundle: MakeBundle) -> None:
    views = {"kind": "tiling", "side": 32, "tile_scale": 0.5, "most_tiles": 4}
    assert read_bundle(make_bundle(views=views)).views == Tiling(crop=32, tile_scale=0.5, max_tiles=4)


def test_views_can_be_mirrored(make_bundle: MakeBundle) -> None:
    views = {"kind": "tiling", "side": 32, "tile_scale": 0.5, "most_tiles": 4}
    mirrored = read_bundle(make_bundle(views={**views, "mirrored": True})).views
    assert mirrored == Tiling(crop=32, tile_scale=0.5, max_tiles=4, mirrored_views=True)


def test_photographs_are_counted_by_class(make_bundle: MakeBundle) -> None:
    counts = {"train": [5, 3, 0], "val": [1, 0, 2], "test": [0, 0, 4]}
    bundle = read_bundle(make_bundle(photographs=counts, object_mask=True))
    assert (bundle.photographs, bundle.object_mask) == (counts, True)


def test_a_bundle_of_an_earlier_version_has_neither_counts_nor_object_mask(bundle_folder: Path) -> None:
    bundle = read_bundle(bundle_folder)
    assert (bundle.photographs, bundle.object_mask) == (None, False)


def test_the_digest_identifies_labels_and_model_files(make_bundle: MakeBundle) -> None:
    folder = make_bundle()
    before = read_bundle(folder).digest
    assert read_bundle(folder).digest == before
    shutil.rmtree(folder)
    assert read_bundle(make_bundle(("red", "green", "violet"))).digest != before


HOSTILE_MANIFESTS: dict[str, dict[str, Any]] = {
    "another schema": {"schema": 2},
    "a boolean for a number": {"schema": True},
    "no name": {"name": None},
    "a terminal escape": {"name": "\x1b[2Jcleared"},
    "letters that change direction": {"name": "gnp\u202e.exe"},
    "no side": {"views": {"kind": "squashing", "resize": 32}},
    "a side of zero": {"views": {"kind": "squashing", "resize": 32, "side": 0}},
    "a huge side": {"views": {"kind": "squashing", "resize": 10**6, "side": 10**6}},
    "another fit": {"views": {"kind": "stretching", "resize": 32, "side": 32}},
    "no colour": {"views": {"kind": "letterboxing", "resize": 32, "side": 32}},
    "two channels": {"views": {"kind": "letterboxing", "resize": 32, "side": 32, "fill": [0, 0]}},
    "a colour beyond white": {"views": {"kind": "letterboxing", "resize": 32, "side": 32, "fill": [0, 0, 256]}},
    "a side larger than the picture": {"views": {"kind": "squashing", "resize": 32, "side": 64}},
    "another kind of views": {"views": {"kind": "os.system", "_target_": "os.system", "side": 32}},
    "too many tiles": {"views": {"kind": "tiling", "side": 32, "tile_scale": 1, "most_tiles": 10**9}},
    "tiles that are enlarged without limit": {
        "views": {"kind": "tiling", "side": 32, "tile_scale": 1e9, "most_tiles": 4}
    },
    "tiles with a scale of NaN": {"views": {"kind": "tiling", "side": 32, "tile_scale": float("nan"), "most_tiles": 4}},
    "files in a list": {"files": ["model.onnx"]},
    "no files": {"files": {}},
    "a default that is not listed": {"default": "other.onnx"},
    "a default that onnxruntime does not run": {"files": {"model.onnx": described(b"x", runtime="executorch")}},
    "a temperature of zero": {"temperature": 0},
    "an infinite temperature": {"temperature": float("inf")},
    "a coverage that is no share": {"coverage": 95},
    "a text for a boolean": {"activation_map": "yes"},
    "no lineage": {"lineage": None},
    "a scale of zero": {"micrometres_per_pixel": 0},
    "a text for a scale": {"micrometres_per_pixel": "fine"},
    "a text for another boolean": {"object_mask": "yes"},
    "counts of another number of classes": {"photographs": {"train": [1, 2], "val": [1, 1, 1], "test": [1, 1, 1]}},
    "counts below zero": {"photographs": {"train": [1, 2, -1], "val": [1, 1, 1], "test": [1, 1, 1]}},
    "counts that are no integers": {"photographs": {"train": [1, 2, "<b>"], "val": [1, 1, 1], "test": [1, 1, 1]}},
    "counts of one part only": {"photographs": {"train": [1, 1, 1]}},
    "no counts": {"photographs": None},
}


@pytest.mark.parametrize("changes", HOSTILE_MANIFESTS.values(), ids=HOSTILE_MANIFESTS.keys())
def test_a_manifest_that_breaks_the_contract(make_bundle: MakeBundle, changes: dict[str, Any]) -> None:
    folder = make_bundle(**changes)
    with pytest.raises(UserError) as refused:
        read_bundle(folder)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": float("nan")},
        {"threshold": 10**400},
        {"threshold": None},
        {"window_confusion": [[1.0]]},
        {"window_confusion": [[1.0, -1.0], [0.0, 1.0]]},
        {"window_confusion": [[1.0, float("nan")], [0.0, 1.0]]},
        {"window_confusion": [{}, {}]},
        {"quantiles": {"0.9": float("inf")}},
        {"quantiles": {"1e309": 0.5}},
        {"quantiles": {"\x1b[31m": 0.5}},
        {"accuracy": 1.1},
        {"agreement": "all"},
        {"bytes": 0},
        {"bytes": 10**12},
        {"bytes": 1.5},
        {"sha256": "0" * 63},
        {"sha256": "../../../etc/passwd"},
        {"runtime": "python"},
        {"precision": "int4"},
    ],
    ids=str,
)
def test_a_file_entry_that_breaks_the_contract(make_bundle: MakeBundle, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"bundle\.json: files model\.onnx"):
        read_bundle(make_bundle(file=changes))


@pytest.mark.parametrize(
    "name",
    [
        "../model.onnx",
        "/etc/passwd",
        "a/b.onnx",
        "..",
        ".",
        "C:model.onnx",
        "a\\b.onnx",
        "a\0b",
        "",
        ".hidden",
        "x" * 200,
    ],
)
def test_file_names_outside_the_folder_are_refused(make_bundle: MakeBundle, name: str) -> None:
    with pytest.raises(UserError, match="no plain file name"):
        read_bundle(make_bundle(files={name: described(b"x")}, default=name))


@pytest.mark.parametrize(
    "classes",
    [
        [f"class {number}" for number in range(10_001)],
        ["only"],
        ["red", "red"],
        ["red", ""],
        ["red", 7],
        ["red", "\x1b]0;title\x07"],
        ["red", "two\nlines"],
        ["red", "=cmd|' /C calc'!A0"],
        ["red", "x" * 201],
        "red, green",
        None,
    ],
    ids=lambda classes: repr(classes)[:30],
)
def test_labels_that_break_the_contract(bundle_folder: Path, classes: object) -> None:
    (bundle_folder / LABELS_NAME).write_text(json.dumps({"classes": classes}))
    with pytest.raises(UserError, match=r"labels\.json"):
        read_bundle(bundle_folder)


def test_class_names_may_use_every_alphabet(make_bundle: MakeBundle) -> None:
    classes = ["Größe's Gneis", "玄武岩", "می\u200cکا"]  # noqa: RUF001
    assert read_bundle(make_bundle(classes)).classes == tuple(classes)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"schema": ' + b"9" * 5000 + b"}", b" " * 5_000_000],
    ids=lambda content: repr(content[:12]),
)
@pytest.mark.parametrize("name", [MANIFEST_NAME, LABELS_NAME])
def test_invalid_or_huge_json(bundle_folder: Path, name: str, content: bytes) -> None:
    (bundle_folder / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
        read_bundle(bundle_folder)


@pytest.mark.parametrize("name", [MANIFEST_NAME, LABELS_NAME])
@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)], ids=["folder", "pipe", "loop"]
)
def test_other_things_than_files(bundle_folder: Path, name: str, make: Callable[[Path], None]) -> None:
    (bundle_folder / name).unlink()
    make(bundle_folder / name)
    with pytest.raises(UserError, match=name):
        read_bundle(bundle_folder)


def test_a_link_out_of_the_folder(bundle_folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    (bundle_folder / LABELS_NAME).rename(secret)
    (bundle_folder / LABELS_NAME).symlink_to(secret)
    with pytest.raises(UserError, match="link to a file outside"):
        read_bundle(bundle_folder)


def test_a_link_to_the_whole_bundle_is_read(bundle_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(bundle_folder)
    assert read_bundle(tmp_path / "link").model_bytes("model.onnx")


@pytest.mark.parametrize("folder", ["missing", "."])
def test_no_bundle(tmp_path: Path, folder: str) -> None:
    with pytest.raises(UserError, match="pass the folder"):
        read_bundle(tmp_path / folder)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x", lambda data: b"x" + data[1:]])
def test_another_model_file(bundle_folder: Path, change: Callable[[bytes], bytes]) -> None:
    bundle = read_bundle(bundle_folder)
    path = bundle_folder / "model.onnx"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=r"model\.onnx"):
        bundle.model_bytes("model.onnx")


def test_a_missing_model_file(bundle_folder: Path) -> None:
    (bundle_folder / "model.onnx").unlink()
    with pytest.raises(UserError, match="does not exist"):
        read_bundle(bundle_folder).model_bytes("model.onnx")


def test_a_misspelt_file_is_named(bundle_folder: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean model\.onnx"):
        read_bundle(bundle_folder).chosen("modle.onnx")


def test_the_card_is_shown_without_escapes(bundle_folder: Path) -> None:
    (bundle_folder / CARD_NAME).write_bytes(b"# Card\n\x1b[31mred\x07\t\xff\n")
    assert read_bundle(bundle_folder).card() == "# Card\n?[31mred?   \ufffd"


def test_the_labels_of_another_bundle_are_refused(bundle_folder: Path) -> None:
    (bundle_folder / LABELS_NAME).write_text('{"classes": ["green", "red", "blue"]}', encoding="utf-8")
    with pytest.raises(UserError, match=r"labels\.json is not the file"):
        read_bundle(bundle_folder)
