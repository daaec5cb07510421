"""The files that `distillation.teacher` names: one checkpoint or bundle, or several, which teach as an ensemble.

This module loads no torch, so that a finished run is recognised at once.
"""

import glob
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MANIFEST_NAME
from fpcn_lightning.runs.recording import file_hash
from fpcn_lightning.runs.results import find_results

TEACHER = "distillation.teacher"
_WILDCARDS = "*?"


class TeacherFile(NamedTuple):
    """A checkpoint, or the manifest of a bundle, which has the hashes of all files of the bundle."""

    path: Path
    digest: str  # SHA-256, hexadecimal

    @property
    def is_bundle(self) -> bool:
        """Whether it is the manifest of a bundle."""
        return self.path.name == MANIFEST_NAME


def teacher_files(named: str) -> list[TeacherFile]:
    """The files that a text names, each content once, in the order of their hashes.

    Args:
        named: a checkpoint; the folder of a bundle; a folder of runs, which stands for the best checkpoints of all
            finished trainings below it; or a pattern of such paths with `*`, or `**` for folders at any depth.

    Raises:
        UserError: it names nothing, or a file cannot be read.
    """
    # pathlib refuses patterns with an absolute path.
    places = sorted(map(Path, glob.glob(named, recursive=True))) if _is_pattern(named) else [Path(named)]  # noqa: PTH207
    if not places:
        raise UserError(f"{TEACHER}={named}: no file or folder has such a name: correct the pattern.")
    found = {file.digest: file for place in places for file in _files_at(place)}
    return [found[digest] for digest in sorted(found)]


def teacher_digest(files: Sequence[TeacherFile]) -> str:
    """Identifies a teacher: the hash of its file, or that of the hashes of several."""
    if len(files) == 1:
        return files[0].digest
    return hashlib.sha256("\n".join(file.digest for file in files).encode()).hexdigest()


def _is_pattern(named: str) -> bool:
    return any(character in named for character in _WILDCARDS) and not Path(named).exists()


def _files_at(place: Path) -> Iterator[TeacherFile]:
    if (place / MANIFEST_NAME).is_file():
        yield _hashed(place / MANIFEST_NAME)
    elif place.is_dir():
        yield from map(_hashed, _checkpoints_below(place))
    else:
        yield _hashed(place)


def _checkpoints_below(folder: Path) -> list[Path]:
    """The best checkpoints of the finished trainings below a folder."""
    runs = find_results(folder, unreadable=[])
    found = [
        place / result["checkpoint"]
        for place, result in runs
        if result["status"] == "finished" and result["config"].get("task") == "train" and result["checkpoint"]
    ]
    if not found:
        raise UserError(
            f"{TEACHER}={folder} is neither a bundle nor a folder with finished trainings: wait until one has "
            "finished, or pass a checkpoint, teacher=RUN/checkpoints/best.ckpt."
        )
    return found


def _hashed(path: Path) -> TeacherFile:
    return TeacherFile(path, file_hash(path, TEACHER))
