from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.result_folder import AREAS, FACTS, result_folder, whole


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def finish(output: Path, *, overwrite: bool = False) -> None:
    with result_folder(output, overwrite=overwrite):
        (output / FACTS).write_text("{}")


def cut_off(output: Path) -> None:
    with result_folder(output, overwrite=False) as unfinished:
        (unfinished / "answers").write_text("half")
        (output / AREAS).write_text("half")
        raise KeyboardInterrupt


def write_half(path: Path) -> None:
    with whole(path) as temporary:
        temporary.write_text("half")
        raise OSError("full")


def test_a_finished_map_is_not_replaced_unawares(tmp_path: Path) -> None:
    output = tmp_path / "maps" / "one"
    finish(output)
    assert names(output) == [FACTS]
    with pytest.raises(UserError, match="holds results already"):
        finish(output)
    assert names(output) == [FACTS]
    finish(output, overwrite=True)


def test_what_was_cut_off_stays_and_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cut_off(tmp_path)
    with result_folder(tmp_path, overwrite=False) as unfinished:
        assert (unfinished / "answers").read_text() == "half"
    assert names(tmp_path) == [AREAS]


def test_overwriting_begins_anew_and_leaves_what_is_not_ours(tmp_path: Path) -> None:
    for name in (AREAS, "notes.txt"):
        (tmp_path / name).write_text("old")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "answers").write_text("half")
    with result_folder(tmp_path, overwrite=True) as unfinished:
        assert names(unfinished) == []
    assert names(tmp_path) == ["notes.txt"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with result_folder(tmp_path, overwrite=False), pytest.raises(UserError, match="another process"):
        finish(tmp_path)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "areas.csv"
    with pytest.raises(OSError, match="full"):
        write_half(path)
    assert names(tmp_path) == []
    with whole(path) as temporary:
        temporary.write_text("all")
    assert names(tmp_path) == ["areas.csv"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        finish(tmp_path / "file")
