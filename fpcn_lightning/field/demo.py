"""The bundle and the photographs that are installed with the command `fpcn`, to try it on: drawn rocks."""

import shutil
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MANIFEST_NAME
from fpcn_lightning.runs.atomic_write import atomic_folder

NAME = "demo"
FOLDER = Path(__file__).parents[1] / "demo"
BUNDLE, PHOTOGRAPHS = FOLDER / "bundle", FOLDER / "photographs"


def resolved(bundle: Path) -> Path:
    """The folder of a bundle that a user names: `demo` is the installed one, unless a bundle here has that name."""
    return BUNDLE if bundle == Path(NAME) and not (bundle / MANIFEST_NAME).is_file() else bundle


def copy_photographs(folder: Path) -> int:
    """Copy the photographs of the demonstration to a new folder, with a folder for each class; returns their number.

    Raises:
        UserError: the folder has files already.
        WriteError: it cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty: choose another folder.")
    with atomic_folder(folder) as new:
        shutil.copytree(PHOTOGRAPHS, new, dirs_exist_ok=True)
        return sum(path.is_file() for path in new.rglob("*"))
