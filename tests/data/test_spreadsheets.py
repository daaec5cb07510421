"""Lists as Excel files."""

import datetime
import sys
import zipfile
from pathlib import Path

import pytest

from fpcn_lightning.data import spreadsheets
from fpcn_lightning.data.index import find
from fpcn_lightning.data.lists import read_list, read_table
from fpcn_lightning.errors import UserError

openpyxl = pytest.importorskip("openpyxl")


def written(path: Path, *rows: tuple[object, ...]) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.save(path)
    return path


def test_an_excel_file_is_read_as_a_csv_is(tmp_path: Path) -> None:
    path = written(tmp_path / "list.xlsx", ("Path", " Label"), ("a.jpg", "granite"), (None, None), ("b.jpg", "tuff"))
    assert [row.place for row in read_list(path, ("path", "label"))] == [f"{path}, line 2", f"{path}, line 4"]
    assert [(file.name, file.label) for file in find(path)] == [("a.jpg", "granite"), ("b.jpg", "tuff")]


def test_values_become_text(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 1)
    values = (12, 3.0, 2.5, True, day, day.replace(hour=7), None, "ä")
    path = written(tmp_path / "list.xlsx", ("path", *"abcdefgh"), ("x.jpg", *values))
    row = read_list(path, ("path",))[0]
    assert [row.text(name) for name in "abcdefgh"] == [
        *("12", "3", "2.5", "true", "2024-05-01", "2024-05-01T07:00:00", "", "ä")
    ]


def test_formulas_are_not_computed(tmp_path: Path) -> None:
    path = written(tmp_path / "list.xlsx", ("path", "note"), ("a.jpg", '=HYPERLINK("http://x","y")'))
    assert read_list(path, ("path",))[0].text("note") == ""


def test_what_is_no_excel_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "list.xlsx"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match="is no Excel file"):
        read_list(path, ("path",))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(UserError, match="cannot be read as an Excel file"):
        read_list(path, ("path",))


def test_what_a_file_unpacks_to_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "list.xlsx", ("path",), ("a" * 1000,))
    monkeypatch.setattr(spreadsheets, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="unpacks to"):
        read_list(path, ("path",))


def test_rows_and_columns_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "list.xlsx", ("path",), ("a.jpg",), ("b.jpg",))
    monkeypatch.setattr(spreadsheets, "MAX_ROWS", 2)
    with pytest.raises(UserError, match="line 3: the first sheet has more than 2 rows"):
        read_list(path, ("path",))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "list.xlsx", ("path",), ("a.jpg",))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UserError, match=r"pip install 'fpcn-lightning\[excel\]'"):
        read_list(path, ("path",))


def test_columns_keep_their_names_and_a_nameless_one_gets_its_place(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(",Path,Field Note,,\n7,a.jpg,wet,x,\n")
    table = read_table(path, ("path",))
    assert table.header == {"column_1": "column_1", "path": "Path", "field note": "Field Note", "column_4": "column_4"}
    assert table.rows[0].text("column_1") == "7"
