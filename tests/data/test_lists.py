"""Lists as spreadsheets write them are read, and what cannot be read is named by its line."""

import os
from pathlib import Path

import pytest

from fpcn_lightning.data.index import find
from fpcn_lightning.data.lists import ListRow, located, read_list
from fpcn_lightning.data.split import read_split_rows
from fpcn_lightning.errors import UserError
from fpcn_lightning.field.sources import find_pictures

WANTED = ("path", "label")


def written(folder: Path, content: str | bytes, name: str = "list.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def cells(rows: list[ListRow]) -> list[tuple[str, str]]:
    return [(row.text("path"), row.text("label")) for row in rows]


@pytest.mark.parametrize(
    "content",
    [
        "path,label\na.jpg,granite\nb.jpg,tuff\n",
        "path;label\na.jpg;granite\nb.jpg;tuff",
        "path\tlabel\na.jpg\tgranite\nb.jpg\ttuff\n",
        "path|label\na.jpg|granite\nb.jpg|tuff\n",
        " Path ,LABEL\r\na.jpg, granite\r\nb.jpg,tuff \r\n",
        "path\rlabel".replace("\r", ",") + "\ra.jpg,granite\rb.jpg,tuff\r",
        "\ufeffpath,label\na.jpg,granite\nb.jpg,tuff\n",
        "\n,,\npath,label,\na.jpg,granite,\n,,\n\nb.jpg,tuff,\n,,\n,,\n",
        "sep=;\r\npath;label\r\na.jpg;granite\r\nb.jpg;tuff\r\n",
        '"path";"label"\n"a.jpg";"granite"\n"b.jpg";"tuff"\n',
        "note;path;label\none, two, three;a.jpg;granite\nfour, five;b.jpg;tuff\n",
        ",path,label\n0,a.jpg,granite\n1,b.jpg,tuff\n",
        "path,label\na.jpg,granite\nb.jpg,tuff\n".encode("utf-16"),
        "path\tlabel\r\na.jpg\tgranite\r\nb.jpg\ttuff\r\n".encode("utf-16"),
    ],
    ids=[
        *("comma", "semicolon", "tab", "bar", "case and blanks", "line ends of old Macs", "mark", "empty rows"),
        *("Excel's separator line", "quotes", "commas in texts", "numbered rows", "UTF-16", "Unicode text of Excel"),
    ],
)
def test_one_reader_for_what_spreadsheets_write(tmp_path: Path, content: str | bytes) -> None:
    path = written(tmp_path, content)
    assert cells(read_list(path, WANTED)) == [("a.jpg", "granite"), ("b.jpg", "tuff")]
    # All that read lists read it alike: training, and `fpcn predict`.
    assert [(file.name, file.label) for file in find(path)] == [("a.jpg", "granite"), ("b.jpg", "tuff")]
    assert find_pictures(path) == [tmp_path / "a.jpg", tmp_path / "b.jpg"]


def test_a_text_in_quotes_may_have_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, 'path,note,label\r\n"a\nb.jpg","two\r\nlines",granite\r\nc.jpg,,tuff\r\n')
    rows = read_list(path, WANTED)
    assert cells(rows) == [("a\nb.jpg", "granite"), ("c.jpg", "tuff")]
    assert [row.place for row in rows] == [f"{path}, line 2", f"{path}, line 5"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label,Label\na.jpg,x,y\n", r"list\.csv, line 1: the list has the column label twice"),
        ("\npath,name\na.jpg,x\n", r"list\.csv, line 2: the list lacks the column label"),
        ("", r"list\.csv, line 1: the list lacks the column path and label"),
        ("path,label\na.jpg,x\nb,c.jpg,y\n", r"list\.csv, line 3: the row has 3 cells, the header 2"),
        ('path,label\na.jpg,x\n"b.jpg,y\nc.jpg,z\n', r"list\.csv, line 3: this is not CSV .*check the quotes"),
        ("path,label\na.jpg,x\nGrès.jpg,y\n".encode("cp1252"), r"list\.csv, line 3: the text is not UTF-8"),
        (b"PK\x03\x04\xff\xff", r"list\.csv, line 1: the text is not UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = written(tmp_path, content)
    for read in (find, lambda path: read_list(path, WANTED)):
        with pytest.raises(UserError, match=message):
            read(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_or_device_or_folder_is_never_opened_as_a_list(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "device.csv").symlink_to("/dev/zero")
    for name, reason in {"pipe": "a device, pipe or socket", "folder": "a folder", "device": "a device"}.items():
        for read in (lambda path: read_list(path, WANTED), read_split_rows):
            with pytest.raises(UserError, match=rf"{name}\.csv cannot be read as a list: this is {reason}"):
                read(tmp_path / f"{name}.csv")
    for name in ("pipe", "device"):
        with pytest.raises(UserError, match="neither a folder nor"):
            find(tmp_path / f"{name}.csv")
        with pytest.raises(UserError, match="this is a device"):
            find_pictures(tmp_path / f"{name}.csv")


def test_paths_of_windows_and_of_the_home_folder_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("sub/a.jpg", "home/b.jpg", "odd\\name.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert located(tmp_path, "sub\\a.jpg") == tmp_path / "sub" / "a.jpg"
    assert located(tmp_path, "~/b.jpg") == tmp_path / "home" / "b.jpg"
    assert located(tmp_path, str(tmp_path / "sub/a.jpg")) == tmp_path / "sub/a.jpg"
    # What is there as it is written is not another file, and what is nowhere stays as it was written.
    assert located(tmp_path, "odd\\name.jpg") == tmp_path / "odd\\name.jpg"
    assert located(tmp_path, "no\\where.jpg") == tmp_path / "no\\where.jpg"
    path = written(tmp_path, "path,label\nsub\\a.jpg,x\nsub/a.jpg,X\n~/b.jpg,y\n")
    assert [file.name for file in find(path)] == ["home/b.jpg", "sub/a.jpg"]
    assert find_pictures(path) == [tmp_path / "sub/a.jpg", tmp_path / "home/b.jpg"]


def test_a_long_list_is_read_completely(tmp_path: Path) -> None:
    lines = [f"folder/{number}.jpg;class {number % 3}" for number in range(100_000)]
    rows = read_list(written(tmp_path, "\n".join(["path;label", *lines])), WANTED)
    assert len(rows) == 100_000
    assert rows[-1].place.endswith("line 100001")
    assert rows[-1].text("label") == "class 0"
