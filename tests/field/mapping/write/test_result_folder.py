from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.mapping.classify.prediction_store import KEY
from fpcn_lightning.field.mapping.write.result_folder import AREAS, CLASS_MAP, FACTS, UNFINISHED, result_folder

SECTION = Path(__file__)
PREDICTIONS = "scores.npy"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def finish(output: Path, *, overwrite: bool = False) -> None:
    with result_folder(output, SECTION, overwrite=overwrite):
        (output / FACTS).write_text("{}")


def interrupt(output: Path) -> None:
    with result_folder(output, SECTION, overwrite=False) as unfinished:
        (unfinished / KEY).write_text("{}")
        (unfinished / PREDICTIONS).write_text("half")
        (output / AREAS).write_text("half")
        raise KeyboardInterrupt


def test_a_finished_map_is_not_replaced_by_accident(tmp_path: Path) -> None:
    output = tmp_path / "maps" / "one"
    finish(output)
    assert names(output) == [FACTS]
    with pytest.raises(UserError, match="already contains results"):
        finish(output)
    assert names(output) == [FACTS]
    finish(output, overwrite=True)


def test_an_interrupted_run_is_resumed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path)
    with result_folder(tmp_path, SECTION, overwrite=False) as unfinished:
        assert (unfinished / PREDICTIONS).read_text() == "half"
    assert names(tmp_path) == [AREAS]


def test_overwriting_starts_again_and_keeps_other_files(tmp_path: Path) -> None:
    for name in (AREAS, "notes.txt"):
        (tmp_path / name).write_text("old")
    (tmp_path / UNFINISHED).mkdir()
    for name in (KEY, PREDICTIONS):
        (tmp_path / UNFINISHED / name).write_text("half")
    with result_folder(tmp_path, SECTION, overwrite=True) as unfinished:
        assert names(unfinished) == []
    assert names(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize("left", [[], [PREDICTIONS]])
def test_a_run_that_was_interrupted_at_its_very_end_is_finished(tmp_path: Path, left: list[str]) -> None:
    """The key was removed, perhaps all predictions, but the folder was not."""
    finish(tmp_path)
    (tmp_path / UNFINISHED).mkdir()
    for name in left:
        (tmp_path / UNFINISHED / name).write_text("half")
    with pytest.raises(UserError, match="already contains results"):
        finish(tmp_path)
    assert names(tmp_path) == [FACTS]


def test_the_key_is_removed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed: list[str] = []
    unlink = Path.unlink

    def noted(path: Path, missing_ok: bool = False) -> None:
        removed.append(path.name)
        unlink(path, missing_ok)

    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path)
    monkeypatch.setattr(Path, "unlink", noted)
    finish(tmp_path)
    assert removed[0] == KEY
    assert PREDICTIONS in removed


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["folder", "with a key", "link", "file"])
def test_a_folder_of_the_user_is_refused(tmp_path: Path, kind: str, overwrite: bool) -> None:
    output, own = tmp_path / "map", tmp_path / "own"
    output.mkdir()
    own.mkdir()
    (own / ("thesis.txt" if kind != "link" else PREDICTIONS)).write_text("thesis")
    if kind == "with a key":
        (own / KEY).write_text("{}")
    if kind == "link":
        (output / UNFINISHED).symlink_to(own)
    elif kind == "file":
        (own / "thesis.txt").rename(output / UNFINISHED)
    else:
        own.rename(output / UNFINISHED)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"\.fpcn-map-unfinished.*: move"):
        finish(output, overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", [CLASS_MAP, f".{CLASS_MAP}.4321"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_section_is_not_replaced_by_its_own_map(tmp_path: Path, overwrite: bool, name: str) -> None:
    section = tmp_path / name
    section.write_text("a section")
    (tmp_path / "link.tif").symlink_to(section)
    for path in (section, tmp_path / "link.tif"):
        with (
            pytest.raises(UserError, match="would be replaced by its own map"),
            result_folder(tmp_path, path, overwrite=overwrite),
        ):
            pass
    assert section.read_text() == "a section"


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with result_folder(tmp_path, SECTION, overwrite=False), pytest.raises(UserError, match="another process"):
        finish(tmp_path)


def test_temporary_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt(tmp_path)
    for folder, name in ((tmp_path, AREAS), (tmp_path / UNFINISHED, KEY)):
        (folder / f".{name}.4321").write_text("half")
    finish(tmp_path)
    assert names(tmp_path) == [AREAS, FACTS]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        finish(tmp_path / "file")
