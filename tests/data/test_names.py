"""Class names: which are one class, and which are refused before a training."""

import logging
import os
import sys
import unicodedata
from pathlib import Path

import pytest

from fpcn_lightning.data.index import find
from fpcn_lightning.data.names import class_key, class_problem, escaped, spellings
from fpcn_lightning.errors import UserError

NFC, NFD = (unicodedata.normalize(form, "Calcédoine") for form in ("NFC", "NFD"))


def folders(root: Path, **classes: int) -> Path:
    for label, count in classes.items():
        (root / label).mkdir(parents=True)
        for number in range(count):
            (root / label / f"{number}.jpg").write_bytes(label.encode(errors="surrogateescape"))
    return root


@pytest.mark.parametrize(
    ("one", "other"),
    [(NFC, NFD), ("Granite", "granite"), ("granite ", "granite"), (" GRANITE\t", "granite"), ("Gneiß", "GNEISS")],
)
def test_equal_names(one: str, other: str) -> None:
    assert one != other
    assert class_key(one) == class_key(other)


def test_different_names() -> None:
    names = ("granite", "granites", "granit", "grès", "gres", "dark granite", "dark  granite", "granite.")
    assert len({class_key(name) for name in names}) == len(names)


def test_equal_class_folders_are_one_class_with_a_remark(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folders(tmp_path, **{NFC: 2, NFD: 3, "granite": 1, "Granite": 3, " granite": 2, "tuff": 1})
    with caplog.at_level(logging.WARNING):
        labels = [file.label for file in find(tmp_path)]
    assert {label: labels.count(label) for label in sorted(labels)} == {NFC: 5, "Granite": 6, "tuff": 1}
    (remark,) = [record.getMessage() for record in caplog.records]
    assert "' granite', 'Granite', 'granite' as Granite" in remark
    assert f"as {NFC}" in remark
    assert "tuff" not in remark


def test_the_spelling_of_most_pictures_is_used() -> None:
    assert spellings(["granite "] * 2 + ["Granite"] + ["tuff"]) == {
        "granite ": "granite",
        "Granite": "granite",
        "tuff": "tuff",
    }


def test_a_network_decides_the_spelling() -> None:
    assert spellings([NFD, "granite", "Tuff ", "chert"], [NFC, "GRANITE", "tuff"]) == {
        NFD: NFC,
        "granite": "GRANITE",
        "Tuff ": "tuff",
        "chert": "chert",
    }
    # Two classes of an earlier version that are equal today are not merged, and nothing is guessed.
    assert spellings(["Granite", "granite", "GRANITE"], ["Granite", "granite"])["Granite"] == "Granite"
    assert spellings(["granite"], ["Granite", "granite"]) == {"granite": "granite"}


def test_labels_of_a_list_are_compared_in_the_same_way(tmp_path: Path) -> None:
    rows = ["path,label", f"a.jpg,{NFC}", f"b.jpg,{NFD}", "c.jpg,Tuff", "d.jpg,TUFF", "d.jpg,tuff", "e.jpg,Tuff"]
    (tmp_path / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    assert [file.label for file in find(tmp_path / "list.csv")] == [NFC, NFC, "Tuff", "Tuff", "Tuff"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("-other-", "begins with -, so that spreadsheets"),
        ("@unsorted", "begins with @"),
        ("=1+1", "begins with ="),
        ("+more", r"begins with \+"),
        ("two\nlines", "not UTF-8 or cannot be printed"),
        ("\x1b[31mred", "not UTF-8 or cannot be printed"),
        ("x" * 201, "more than 200 characters"),
    ],
)
def test_what_a_bundle_refuses_is_refused_before_training(tmp_path: Path, name: str, problem: str) -> None:
    folders(tmp_path, **{name: 1, "granite": 1})
    with pytest.raises(UserError, match=f"{problem}.*: rename the class") as error:
        find(tmp_path)
    assert escaped(name) in str(error.value)
    assert str(error.value).isprintable()
    # A network that was trained with such a name can still be tested.
    assert {file.label for file in find(tmp_path, classes=[name, "granite"])} == {name, "granite"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are not UTF-8")
def test_a_class_folder_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folders(tmp_path, **{os.fsdecode(b"gr\xe8s"): 1, "granite": 1})
    with pytest.raises(UserError, match=r"the class name 'gr\\xe8s' has characters that are not UTF-8") as error:
        find(tmp_path)
    str(error.value).encode()


@pytest.mark.parametrize(
    "name", ["unknown", "a,b=c", "[x]{y}", 'quo"te', "it's", "dot.", "50 %|", "<b>", "玄武岩", "नमक\u200cशिला", "#1"]
)
def test_other_names_are_accepted(tmp_path: Path, name: str) -> None:
    assert class_problem(name) is None
    folders(tmp_path, **{name: 1, "granite": 1})
    assert {file.label for file in find(tmp_path)} == {name, "granite"}
