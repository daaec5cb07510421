"""What `distillation.teacher` may name: a file, a bundle, a folder of runs, a pattern."""

import hashlib
import json
from pathlib import Path

import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.modules.teacher_files import teacher_digest, teacher_files
from fpcn_lightning.runs.results import Result, write_result
from tests.runs.test_results import make_result


def leave_run(folder: Path, content: bytes, **changes: object) -> Path:
    """A run folder whose best checkpoint has this content."""
    result: Result = make_result(folder.name, 0)
    result["config"]["task"] = "train"
    result["checkpoint"] = "checkpoints/best.ckpt"
    result.update(changes)  # type: ignore[typeddict-item]
    path = folder / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    path.with_name("last.ckpt").write_bytes(content + b" later")
    write_result(folder, result)
    return path


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(b"weights")
    (found,) = teacher_files(str(path))
    assert (found.path, found.digest, found.is_bundle) == (path, sha(b"weights"), False)
    assert teacher_digest([found]) == sha(b"weights")


def test_a_folder_stands_for_the_best_checkpoints_of_its_finished_trainings(tmp_path: Path) -> None:
    kept = [leave_run(tmp_path / "fpcn" / f"seed-{seed}", f"fpcn {seed}".encode()) for seed in range(2)]
    kept.append(leave_run(tmp_path / "probe", b"probe"))
    leave_run(tmp_path / "failed", b"failed", status="failed", metrics=None)
    leave_run(tmp_path / "evaluation", b"evaluation", config={**make_result("x", 0)["config"], "task": "evaluate"})
    leave_run(tmp_path / "unsaved", b"unsaved", checkpoint=None)
    found = teacher_files(str(tmp_path))
    assert {file.path for file in found} == set(kept)
    assert [file.digest for file in found] == sorted(file.digest for file in found)
    assert teacher_digest(found) not in {file.digest for file in found}


def test_a_pattern_names_files_and_folders_and_copies_count_once(tmp_path: Path) -> None:
    first = leave_run(tmp_path / "a" / "seed-0", b"one")
    leave_run(tmp_path / "a" / "seed-1", b"two")
    (tmp_path / "a" / "copy.ckpt").write_bytes(first.read_bytes())
    assert {file.digest for file in teacher_files(f"{tmp_path}/a/*/checkpoints/best.ckpt")} == {
        sha(b"one"),
        sha(b"two"),
    }
    assert len(teacher_files(f"{tmp_path}/a/*")) == 2
    assert len(teacher_files(f"{tmp_path}/**/best.ckpt")) == 2


def test_the_order_in_which_a_pattern_finds_files_does_not_matter(tmp_path: Path) -> None:
    for place, contents in ((tmp_path / "one", (b"x", b"y")), (tmp_path / "other", (b"y", b"x"))):
        place.mkdir()
        for number, content in enumerate(contents):
            (place / f"{number}.ckpt").write_bytes(content)
    one, other = (teacher_files(f"{tmp_path}/{name}/*.ckpt") for name in ("one", "other"))
    assert teacher_digest(one) == teacher_digest(other)


def test_a_folder_with_a_manifest_is_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(json.dumps({}))
    (found,) = teacher_files(str(tmp_path))
    assert found.is_bundle
    assert found.path == tmp_path / "bundle.json"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("missing.ckpt", "pass the checkpoint of a finished training"),
        ("*.ckpt", "correct the pattern"),
        ("empty", "neither a bundle nor a folder with finished trainings"),
    ],
)
def test_what_names_nothing_is_an_error(named: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=message):
        teacher_files(str(tmp_path / named))
