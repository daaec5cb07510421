import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fpcn_lightning.data.images import open_image
from fpcn_lightning.data.index import find
from fpcn_lightning.data.synthetic import dataset as synthetic
from fpcn_lightning.data.synthetic import minerals, rocks, sections
from fpcn_lightning.data.synthetic.dataset import folder_name, make_synthetic
from fpcn_lightning.data.synthetic.rocks import BACKGROUNDS, CLASSES, draw
from fpcn_lightning.errors import UserError

SPLITS = ("train", "val", "test")
IMAGES_PER_CLASS = 60


def rows_of(index: Path) -> list[dict[str, str]]:
    with index.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("set") / "rocks", images_per_class=IMAGES_PER_CLASS, size=96)


def opened(index: Path) -> tuple[list[tuple[NDArray[np.uint8], NDArray[np.uint8]]], NDArray[np.str_]]:
    rows = rows_of(index)
    pairs = [
        (np.asarray(Image.open(index.parent / row["path"])), np.asarray(Image.open(index.parent / row["mask"])))
        for row in rows
    ]
    return pairs, np.array([row["label"] for row in rows])


def test_picture_is_a_function_of_its_key() -> None:
    first, again, other = (draw("veined", number, size=64, seed=5) for number in (3, 3, 4))
    assert first[0].shape == (64, 64, 3)
    assert first[0].dtype == np.uint8
    assert first[1].shape == (64, 64)
    assert first[1].dtype == np.bool_
    assert first[2] in BACKGROUNDS
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], draw("veined", 3, size=64, seed=6)[0])


@pytest.mark.parametrize("label", CLASSES)
def test_background_does_not_touch_the_rock(label: str) -> None:
    drawn = [draw(label, 1, size=64, backgrounds=[family]) for family in BACKGROUNDS]
    assert [family for _, _, family in drawn] == list(BACKGROUNDS)
    picture, mask, _ = drawn[0]
    for other_picture, other_mask, _ in drawn[1:]:
        np.testing.assert_array_equal(mask, other_mask)
        np.testing.assert_array_equal(picture[mask], other_picture[mask])
        assert not np.array_equal(picture, other_picture)


def test_unknown_label_or_number_is_refused() -> None:
    with pytest.raises(UserError, match=r"label=obsidian.*granular"):
        draw("obsidian", 0)
    with pytest.raises(UserError, match="number=-1"):
        draw("granular", -1)


def test_rocks_are_in_one_piece_and_of_every_area() -> None:
    masks = [draw(label, number, size=48)[1] for label in CLASSES for number in range(60)]
    areas = np.array([mask.mean() for mask in masks])
    assert areas.min() >= 0.095
    assert areas.max() <= 0.905
    shares = np.histogram(areas, bins=4, range=(0.1, 0.9))[0] / len(areas)
    np.testing.assert_allclose(shares, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / len(areas)))
    corners = np.ones((3, 3))
    assert all(ndimage.label(mask, corners)[1] == 1 for mask in masks)


def test_colour_of_the_rock_never_clips() -> None:
    for label in CLASSES:
        picture, mask, _ = draw(label, 7, size=96)
        assert 0 < picture[mask].min() <= picture[mask].max() < 255


def test_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    for name, workers in (("one", 1), ("three", 3)):
        make_synthetic(tmp_path / name, images_per_class=6, size=32, workers=workers)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "three")


def test_the_index_describes_the_files(index: Path) -> None:
    rows = rows_of(index)
    assert tuple(rows[0]) == synthetic.COLUMNS
    assert len({row["path"] for row in rows}) == len(rows) == IMAGES_PER_CLASS * len(CLASSES)
    for row, (picture, mask) in zip(rows, opened(index)[0], strict=True):
        assert picture.shape == (96, 96, 3)
        assert set(np.unique(mask)) == {0, 255}
        assert float(row["object_ratio"]) == pytest.approx(np.mean(mask == 255), abs=1e-6)
        assert Path(row["path"]).parts[:2] == ("images", row["label"])
        assert row["background"] in BACKGROUNDS


def test_split_is_stratified_and_keeps_specimens_together(index: Path) -> None:
    rows = rows_of(index)
    for label in CLASSES:
        counts = [sum(row["label"] == label and row["split"] == split for row in rows) for split in SPLITS]
        assert counts == [36, 12, 12]
    groups = {(row["group"], row["label"], row["split"]) for row in rows}
    assert len(groups) == len({group for group, _, _ in groups}) == len(rows) / 2


def accuracy(features: NDArray[np.float64], labels: NDArray[np.str_], classifier: object) -> float:
    """Cross-validated without shuffling: the two views of a specimen are consecutive and in one fold."""
    return float(cross_val_score(make_pipeline(StandardScaler(), classifier), features, labels, cv=5).mean())


def colour(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    rock = picture[mask == 255].astype(np.float64)
    return np.concatenate([rock.mean(axis=0), rock.std(axis=0)])


def texture(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Skewness and flatness of the detail at several scales, inside the rock."""
    inside = ndimage.binary_erosion(mask == 255, iterations=2)
    grey = picture.mean(axis=2)
    statistics: list[float] = []
    for scale in (0.7, 1.4, 2.8):
        detail = (ndimage.gaussian_filter(grey, scale) - ndimage.gaussian_filter(grey, 2 * scale))[inside]
        detail = (detail - detail.mean()) / detail.std()
        statistics += [float(np.mean(detail**3)), float(np.mean(np.abs(detail))), float(np.mean(detail**4))]
    return np.array(statistics)


def test_the_classes_differ_in_texture_and_not_in_colour(index: Path) -> None:
    pairs, labels = opened(index)
    chance = 1 / len(CLASSES)
    error = np.sqrt(chance * (1 - chance) / len(labels))
    colours = np.stack([colour(*pair) for pair in pairs])
    textures = np.stack([texture(*pair) for pair in pairs])
    for classifier in (LogisticRegression(), RandomForestClassifier(random_state=0)):
        assert abs(accuracy(colours, labels, classifier) - chance) < 3 * error
    assert accuracy(textures, labels, LinearDiscriminantAnalysis()) > chance + 6 * error


def families(rows: list[dict[str, str]], label: str, *splits: str) -> set[str]:
    return {row["background"] for row in rows if row["label"] == label and row["split"] in splits}


def test_shortcut_holds_in_training_and_misleads_at_test(tmp_path: Path, index: Path) -> None:
    rows = rows_of(make_synthetic(tmp_path / "rocks", images_per_class=40, size=32, shortcut=True))
    seen = {label: families(rows, label, "train", "val") for label in CLASSES}
    assert sorted(family for owned in seen.values() for family in owned) == sorted(BACKGROUNDS)
    for label, following in zip(CLASSES, (*CLASSES[1:], CLASSES[0]), strict=True):
        assert families(rows, label, "test") == seen[following]
        assert families(rows_of(index), label, "train") == set(BACKGROUNDS)


def test_second_call_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "deep" / "rocks"
    first = make_synthetic(root, images_per_class=6, size=32)
    monkeypatch.setattr(rocks, "draw", None)
    assert make_synthetic(root, images_per_class=6, size=32) == first == root / "index.csv"


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".rocks.debris" / "images" / "veined").mkdir(parents=True)
    with monkeypatch.context() as broken:
        broken.setattr(rocks, "draw", None)
        with pytest.raises(TypeError):
            make_synthetic(tmp_path / "rocks", images_per_class=6, size=32)
    assert [path.name for path in tmp_path.iterdir()] == [".rocks.debris"]
    (tmp_path / "rocks").mkdir()
    assert len(rows_of(make_synthetic(tmp_path / "rocks", images_per_class=6, size=32))) == 18


def test_slower_of_two_processes_takes_the_set_of_the_faster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "rocks"
    rename = Path.rename

    def overtaken(draft: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        make_synthetic(root, images_per_class=6, size=32)
        return rename(draft, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    assert make_synthetic(root, images_per_class=6, size=32).is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["rocks"]


def test_folder_of_other_content_is_refused_and_kept(tmp_path: Path) -> None:
    root = tmp_path / "rocks"
    make_synthetic(root, images_per_class=6, size=32)
    before = bytes_of(root)
    with pytest.raises(UserError, match="other parameters"):
        make_synthetic(root, images_per_class=6, size=32, seed=1)
    assert bytes_of(root) == before
    parameters = json.loads((root / "synthetic.json").read_text())
    (root / "synthetic.json").write_text(json.dumps(parameters | {"generator": -1}))
    with pytest.raises(UserError, match="other parameters"):
        make_synthetic(root, images_per_class=6, size=32)
    (root / "synthetic.json").unlink()
    with pytest.raises(UserError, match="not a synthetic set"):
        make_synthetic(root, images_per_class=6, size=32)


def test_the_parameters_of_rocks_are_those_of_earlier_versions(tmp_path: Path) -> None:
    """Or every set that an earlier version drew would be refused."""
    make_synthetic(tmp_path / "rocks", images_per_class=6, size=32, seed=2)
    parameters = {"images_per_class": 6, "size": 32, "seed": 2, "shortcut": False, "validation": 0.2, "test": 0.2}
    assert json.loads((tmp_path / "rocks" / "synthetic.json").read_text()) == {**parameters, "generator": 1}


@pytest.mark.parametrize(
    ("kind", "painter", "bits", "suffix"),
    [("minerals", minerals, 8, ".jpg"), ("minerals", minerals, 16, ".tif"), ("sections", sections, 8, ".jpg")],
)
def test_other_kinds_have_the_same_files(tmp_path: Path, kind: str, painter: Any, bits: int, suffix: str) -> None:
    index = make_synthetic(tmp_path / "set", kind=kind, images_per_class=6, size=48, bits=bits)
    rows = rows_of(index)
    assert tuple(rows[0]) == synthetic.COLUMNS
    assert [row["label"] for row in rows] == [label for label in painter.CLASSES for _ in range(6)]
    for row in rows:
        picture, mask, background = painter.draw(row["label"], int(Path(row["path"]).stem), size=48)
        assert Path(row["path"]).suffix == suffix
        assert row["background"] == background
        np.testing.assert_array_equal(np.asarray(Image.open(index.parent / row["mask"])) == 255, mask)
        difference = np.abs(open_image(index.parent / row["path"]).astype(int) - picture)
        assert difference.mean() < 10 if bits == 8 else difference.max() <= 1
    with pytest.raises(UserError, match="other parameters"):
        make_synthetic(tmp_path / "set", kind=kind, images_per_class=6, size=64, bits=bits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "fossils"}, "kind=fossils is unknown: choose one of rocks, minerals, sections"),
        ({"kind": "minerals", "shortcut": True}, "shortcut=true is for rocks"),
        ({"kind": "sections", "shortcut": True}, "shortcut=true is for rocks"),
        ({"kind": "minerals", "bits": 12}, "bits=12"),
        ({"bits": 16}, "bits=16: .*others with 8"),
        ({"kind": "sections", "bits": 16}, "bits=16: .*others with 8"),
    ],
)
def test_options_that_a_kind_does_not_have_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_synthetic(tmp_path / "set", **options)
    assert not list(tmp_path.iterdir())


def test_a_set_of_an_earlier_version_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its index calls the split val validation."""
    index = make_synthetic(tmp_path / "rocks", images_per_class=6, size=32)
    index.write_text(index.read_text().replace(",val,", ",validation,"))
    monkeypatch.setattr(rocks, "draw", None)
    assert make_synthetic(tmp_path / "rocks", images_per_class=6, size=32) == index
    assert {file.published for file in find(index)} == set(SPLITS)


def test_folders_of_rocks_keep_their_names() -> None:
    usual: dict[str, Any] = {"images_per_class": 200, "size": 224, "seed": 0}
    assert folder_name(**usual) == "200-a-class-224px-seed-0"
    assert folder_name(**usual, shortcut=True) == "200-a-class-224px-seed-0-shortcut"
    assert folder_name(**usual, kind="minerals") == "minerals-200-a-class-224px-seed-0"
    assert folder_name(**usual, kind="minerals", bits=16) == "minerals-200-a-class-224px-seed-0-16-bit"


@pytest.mark.parametrize(
    ("key", "value"),
    [("images_per_class", 0), ("images_per_class", 4), ("size", 8), ("seed", -1), ("val", 1.0), ("test", -0.1)],
)
def test_parameter_out_of_range_is_named(tmp_path: Path, key: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{key}={value}"):
        make_synthetic(tmp_path / "rocks", **{key: value})  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_too_few_pictures_for_the_shares_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="images_per_class=6"):
        make_synthetic(tmp_path / "rocks", images_per_class=6, size=32, val=0.5, test=0.4)
