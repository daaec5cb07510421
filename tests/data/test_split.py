"""No copy and no group in two splits, the shares of the config, and the same split on every machine."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpcn_lightning.data.index import SPLITS, Index, IndexedImage
from fpcn_lightning.data.split import Split, all_test, make_split, read_split, read_split_rows, write_split
from fpcn_lightning.errors import UserError


def item(
    name: str, label: str, digest: str | None = None, group: str | None = None, published: str | None = None
) -> IndexedImage:
    return IndexedImage(name, Path("/rocks") / name, label, group, published, digest or f"sha1 of {name}", 10, 10)


def index_of(pictures: Sequence[IndexedImage], root: str = "/rocks") -> Index:
    ordered = tuple(sorted(pictures, key=lambda picture: picture.name))
    return Index(Path(root), tuple(sorted({picture.label for picture in ordered})), ordered, ())


def singles(**sizes: int) -> list[IndexedImage]:
    return [item(f"{label}/{number:03}.jpg", label) for label, size in sizes.items() for number in range(size)]


def splits_by_name(index: Index, split: Split) -> dict[str, str]:
    return {index.pictures[position].name: name for name in (*SPLITS, "dropped") for position in getattr(split, name)}


def assert_sound(index: Index, split: Split) -> None:
    """What holds for every split, checked picture by picture."""
    positions = [*split.train, *split.val, *split.test, *split.dropped]
    assert sorted(positions) == list(range(len(index.pictures)))
    splits = splits_by_name(index, split)
    for one in index.pictures:
        for other in index.pictures:
            tied = one.digest == other.digest or (one.group is not None and one.group == other.group)
            if tied and "dropped" not in (splits[one.name], splits[other.name]):
                assert splits[one.name] == splits[other.name]
    for name in SPLITS:
        assert list(getattr(split, name)) == sorted(getattr(split, name))
        assert {index.pictures[position].label for position in getattr(split, name)} == set(index.classes)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(3, 40), min_size=2, max_size=5),
    val=st.floats(0.02, 0.45),
    test=st.floats(0.02, 0.45),
    seed=st.integers(0, 2**32),
)
def test_single_pictures_fall_within_one_of_their_share(sizes: list[int], val: float, test: float, seed: int) -> None:
    index = index_of(singles(**{f"class{number}": size for number, size in enumerate(sizes)}))
    split = make_split(index, val=val, test=test, seed=seed)
    assert_sound(index, split)
    assert split.dropped == ()
    for name, share in (("val", val), ("test", test)):
        counts = Counter(index.pictures[position].label for position in getattr(split, name))
        for label, size in zip(index.classes, sizes, strict=True):
            assert abs(counts[label] - share * size) < 1 or counts[label] == 1


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 25)), min_size=20, max_size=90),
    seed=st.integers(0, 99),
)
def test_copies_and_groups_stay_together(rows: list[tuple[int, int, int]], seed: int) -> None:
    """Random chains of groups and copies, with three clusters of each class so that a split exists."""
    pictures = [*singles(class0=3, class1=3, class2=3)]
    pictures += [
        item(f"class{label}/x{number}.jpg", f"class{label}", f"digest {digest}", f"group {group}" if group else None)
        for number, (label, digest, group) in enumerate(rows)
    ]
    index = index_of(pictures)
    assert_sound(index, make_split(index, val=0.2, test=0.2, seed=seed))


def test_groups_of_ten_come_within_a_group_of_their_share() -> None:
    pictures = [
        item(f"{label}/{specimen}-{view}.jpg", label, group=f"{label} specimen {specimen}")
        for label in ("basalt", "granite")
        for specimen in range(20)
        for view in range(10)
    ]
    index = index_of(pictures)
    split = make_split(index, val=0.15, test=0.15, seed=0)
    assert_sound(index, split)
    for name in ("val", "test"):
        counts = Counter(index.pictures[position].label for position in getattr(split, name))
        assert counts == {"basalt": 30, "granite": 30}


def test_three_uneven_groups_a_class_reach_all_splits() -> None:
    pictures = [
        item(f"{label}/{group}-{view}.jpg", label, group=f"{label}{group}")
        for label in ("basalt", "granite")
        for group, size in enumerate((50, 9, 1))
        for view in range(size)
    ]
    index = index_of(pictures)
    for seed in range(5):
        split = make_split(index, val=0.15, test=0.15, seed=seed)
        assert_sound(index, split)
        assert len(split.train) == 100


def test_seed_order_and_root() -> None:
    pictures = singles(basalt=30, granite=20)
    index = index_of(pictures)
    split = make_split(index, val=0.2, test=0.2, seed=1)
    assert make_split(index, val=0.2, test=0.2, seed=1) == split
    assert make_split(index, val=0.2, test=0.2, seed=2).fingerprint != split.fingerprint
    moved = [replace(picture, path=Path("/elsewhere") / picture.name, width=99) for picture in pictures]
    assert make_split(index_of(moved, "/elsewhere"), val=0.2, test=0.2, seed=1) == split
    reversed_index = Index(index.root, index.classes, index.pictures[::-1], ())
    backwards = make_split(reversed_index, val=0.2, test=0.2, seed=1)
    assert backwards.fingerprint == split.fingerprint
    assert splits_by_name(reversed_index, backwards) == splits_by_name(index, split)


def test_the_fingerprint_depends_on_digest_label_and_name() -> None:
    index = index_of(singles(basalt=9, granite=9))
    split = make_split(index, val=0.3, test=0.3, seed=0)
    assert len(split.fingerprint) == 16
    int(split.fingerprint, 16)
    first, *others = index.pictures
    for changed in (replace(first, digest="other"), replace(first, label="granite"), replace(first, name="basalt/0")):
        other = make_split(index_of([changed, *others]), val=0.3, test=0.3, seed=0)
        assert other.fingerprint != split.fingerprint


def published(train: int, test: int, val: int = 0) -> list[IndexedImage]:
    counts = {"train": train, "val": val, "test": test}
    return [
        item(f"{name}/{label}/{number:03}.jpg", label, f"{name} {label} {number}", published=name)
        for name, count in counts.items()
        for label in ("basalt", "granite")
        for number in range(count)
    ]


def test_a_published_test_split_is_kept_and_val_is_taken_from_train() -> None:
    index = index_of(published(train=70, test=30))
    split = make_split(index, val=0.15, test=0.25, seed=0)
    assert_sound(index, split)
    for position in split.test:
        assert index.pictures[position].published == "test"
    assert len(split.test) == 60
    assert len(split.val) == 2 * 14  # 70 x 0.15 / (0.15 + 0.6)
    assert split.dropped == ()


def test_three_published_splits_are_kept_whatever_the_shares() -> None:
    index = index_of(published(train=5, test=4, val=3))
    split = make_split(index, val=0.4, test=0.4, seed=3)
    assert_sound(index, split)
    assert splits_by_name(index, split) == {picture.name: picture.published for picture in index.pictures}


def test_leaks_into_published_splits_are_dropped() -> None:
    pictures = published(train=20, test=10, val=5)
    leaks = [
        item("train/basalt/copy.jpg", "basalt", "test basalt 0", published="train"),
        item("train/basalt/near.jpg", "basalt", "val basalt 1", published="train"),
        item("val/granite/copy.jpg", "granite", "test granite 3", published="val"),
        item("train/granite/same stone.jpg", "granite", group="stone", published="train"),
    ]
    stone = item("test/granite/stone.jpg", "granite", group="stone", published="test")
    copy = item("test/granite/copy.jpg", "granite", "test granite 3", published="test")
    index = index_of([*pictures, *leaks, stone, copy])
    split = make_split(index, val=0.1, test=0.1, seed=0)
    assert_sound(index, split)
    assert {index.pictures[position].name for position in split.dropped} == {leak.name for leak in leaks}
    assert len(split.test) == 22


def test_splits_published_for_some_pictures_only() -> None:
    index = index_of([*published(train=9, test=9), item("basalt/stray.jpg", "basalt")])
    with pytest.raises(UserError, match=r"basalt/stray\.jpg has no published split"):
        make_split(index, val=0.2, test=0.2, seed=0)


@pytest.mark.parametrize(
    ("val", "test"), [(0, 0.2), (0.2, 0), (-0.1, 0.2), (0.5, 0.5), (1.2, 0.1), (0.2, float("nan"))]
)
def test_impossible_shares(val: float, test: float) -> None:
    with pytest.raises(UserError, match=r"data\.split\.val is .* and data\.split\.test is"):
        make_split(index_of(singles(basalt=9, granite=9)), val=val, test=test, seed=0)


def test_a_class_with_too_few_pictures() -> None:
    with pytest.raises(UserError, match="class 'granite' has too few pictures: 2 in 2 groups"):
        make_split(index_of(singles(basalt=20, granite=2)), val=0.2, test=0.2, seed=0)
    tied = [item(f"granite/{number}.jpg", "granite", group=f"stone {number % 2}") for number in range(8)]
    with pytest.raises(UserError, match="class 'granite' has too few pictures: 8 in 2 groups"):
        make_split(index_of([*singles(basalt=20), *tied]), val=0.2, test=0.2, seed=0)
    make_split(index_of(singles(basalt=20, granite=3)), val=0.2, test=0.2, seed=0)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Index, Split, Path]:
    copies = [item(f"basalt/copy{number}.jpg", "basalt", "one digest", group="a, b") for number in range(2)]
    index = index_of([*singles(basalt=12, granite=9), *copies, item(' odd, "name".jpg', "basalt")])
    split = make_split(index, val=0.2, test=0.2, seed=0)
    write_split(index, split, tmp_path / "split.csv")
    return index, split, tmp_path / "split.csv"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_split_comes_back_from_its_file(written: tuple[Index, Split, Path]) -> None:
    index, split, path = written
    assert read_split(index, path) == split
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [picture.name for picture in index.pictures]
    assert {row["name"]: row["split"] for row in rows} == splits_by_name(index, split)


def test_a_split_with_dropped_pictures_comes_back(tmp_path: Path) -> None:
    leak = item("train/basalt/copy.jpg", "basalt", "test basalt 0", published="train")
    index = index_of([*published(train=9, test=9), leak])
    split = make_split(index, val=0.2, test=0.2, seed=0)
    write_split(index, split, tmp_path / "split.csv")
    assert read_split(index, tmp_path / "split.csv") == split
    assert len(split.dropped) == 1


def test_the_split_of_a_picture_may_be_edited(written: tuple[Index, Split, Path]) -> None:
    index, split, path = written
    name = index.pictures[split.test[0]].name
    label = index.pictures[split.test[0]].label
    edit(path, f"{name},{label},test", f"{name},{label},train")
    edited = read_split(index, path)
    assert edited.test == split.test[1:]
    assert edited.fingerprint != split.fingerprint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("basalt/000.jpg", "basalt/999.jpg", r"basalt/(000|999)\.jpg is in one of the two only"),
        ("sha1 of basalt/003.jpg", "sha1 of another", r"basalt/003\.jpg has changed"),
        ("granite/002.jpg,granite", "granite/002.jpg,gneiss", r"granite/002\.jpg has changed"),
        (",train,", ",exam,", "the split 'exam'"),
        ("name,label", "names,label", "lacks the column name"),
    ],
)
def test_a_file_that_does_not_fit(written: tuple[Index, Split, Path], old: str, new: str, message: str) -> None:
    index, _, path = written
    edit(path, old, new)
    with pytest.raises(UserError, match=message) as error:
        read_split(index, path)
    assert str(path) in str(error.value)


def test_an_edit_may_not_divide_copies_or_empty_a_split(written: tuple[Index, Split, Path]) -> None:
    index, split, path = written
    name = splits_by_name(index, split)["basalt/copy0.jpg"]
    edit(path, f"copy0.jpg,basalt,{name}", f"copy0.jpg,basalt,{'test' if name == 'train' else 'train'}")
    with pytest.raises(UserError, match=r"copy0\.jpg .*are copies or of one group"):
        read_split(index, path)
    write_split(index, split, path)
    path.write_text(path.read_text().replace(",granite,test,", ",granite,train,"))
    with pytest.raises(UserError, match=r"class 'granite' has too few pictures: 9 in 9 groups.* in the test split"):
        read_split(index, path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split\.csv"):
        read_split(index_of(singles(basalt=3, granite=3)), tmp_path / "split.csv")


def test_all_test_puts_every_picture_into_the_test_split(tmp_path: Path) -> None:
    """Also copies, groups, published splits and classes of one picture, which `make_split` would refuse or drop."""
    pictures = [
        *published(train=2, test=1),
        item("train/basalt/copy.jpg", "basalt", "test basalt 0", published="train"),
        item("marble/only.jpg", "marble", group="stone"),
    ]
    index = index_of(pictures)
    split = all_test(index)
    assert (split.train, split.val, split.dropped) == ((), (), ())
    assert split.test == tuple(range(len(pictures)))
    write_split(index, split, tmp_path / "split.csv")
    with (tmp_path / "split.csv").open(newline="") as file:
        assert {row["name"]: row["split"] for row in csv.DictReader(file)} == {one.name: "test" for one in pictures}


def test_the_fingerprint_of_all_test_depends_on_pictures_and_splits() -> None:
    index = index_of(singles(basalt=9, granite=9))
    fingerprint = all_test(index).fingerprint
    assert all_test(index_of(singles(basalt=9, granite=9), "/elsewhere")).fingerprint == fingerprint
    assert all_test(index_of(singles(basalt=9, granite=8))).fingerprint != fingerprint
    assert make_split(index, val=0.3, test=0.3, seed=0).fingerprint != fingerprint


# Of the index below, by an earlier version: it called the split val validation, and its column side.
EARLIER_FINGERPRINT = "6352dcda31310c50"
EARLIER_SPLITS = {"validation": (4, 7, 11), "test": (0, 2, 10)}


def test_splits_and_fingerprints_are_those_of_earlier_versions() -> None:
    """Or their checkpoints would be refused, and their runs could not be resumed."""
    index = index_of(singles(basalt=9, granite=6))
    split = make_split(index, val=0.2, test=0.2, seed=0)
    assert (split.val, split.test) == (EARLIER_SPLITS["validation"], EARLIER_SPLITS["test"])
    assert split.fingerprint == EARLIER_FINGERPRINT
    assert all_test(index).fingerprint == "3ec448397d269c51"


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    index = index_of(singles(basalt=9, granite=6))
    splits = dict.fromkeys(range(len(index.pictures)), "train")
    splits |= {position: split for split, positions in EARLIER_SPLITS.items() for position in positions}
    lines = [
        f"{picture.name},{picture.label},{splits[position]},{picture.digest},"
        for position, picture in enumerate(index.pictures)
    ]
    path = tmp_path / "split.csv"
    path.write_text("\n".join(["name,label,side,digest,group", *lines]))
    assert read_split(index, path) == make_split(index, val=0.2, test=0.2, seed=0)
    assert [row["split"] for row in read_split_rows(path)].count("val") == len(EARLIER_SPLITS["validation"])


@pytest.mark.parametrize("by", ["digest", "group"])
def test_without_groups_every_image_is_assigned_by_itself(by: str, tmp_path: Path) -> None:
    pictures = [
        replace(single, **{by: f"{number // 4}"})  # type: ignore[arg-type]  # both are texts
        for number, single in enumerate(singles(basalt=80, granite=80))
    ]
    index = index_of(pictures)
    split = make_split(index, val=0.2, test=0.2, seed=0, grouped=False)
    tested, trained = (
        {getattr(index.pictures[position], by) for position in part} for part in (split.test, split.train)
    )
    assert len(tested & trained) > 15  # of 40 clusters; at random 23 are expected
    write_split(index, split, tmp_path / "split.csv")
    assert read_split(index, tmp_path / "split.csv", grouped=False) == split
    with pytest.raises(UserError, match="of one group, but in several splits"):
        read_split(index, tmp_path / "split.csv")


def test_without_groups_no_image_of_a_published_split_is_dropped() -> None:
    pictures = [
        item(f"{split}/{label}/{number}.jpg", label, digest=f"{label} {number}", published=split)
        for split in SPLITS
        for label in ("basalt", "granite")
        for number in range(3)
    ]
    index = index_of(pictures)
    assert make_split(index, val=0.2, test=0.2, seed=0, grouped=False).dropped == ()
    with pytest.raises(UserError, match="has too few pictures"):  # all training images are copies of tested ones
        make_split(index, val=0.2, test=0.2, seed=0)
