"""The folder of a bundle: written as a whole or not at all, and never over something else."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fpcn_lightning.errors import UserError
from fpcn_lightning.field.manifest import MANIFEST_NAME
from fpcn_lightning.runs.atomic_write import atomic_folder


def check_replaceable(folder: Path, *, overwrite: bool) -> None:
    """Check that a bundle may be written to `folder`.

    Raises:
        UserError: there is a bundle and `overwrite` is False, or there is something that is no bundle.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / MANIFEST_NAME).is_file():
        raise UserError(f"{folder} exists and is no bundle: choose another folder, export.bundle=FOLDER.")
    if not overwrite:
        raise UserError(
            f"{folder} already contains a bundle: replace it with overwrite=true, or choose export.bundle=FOLDER."
        )


@contextlib.contextmanager
def new_bundle_folder(folder: Path) -> Iterator[Path]:
    """An empty folder for the files of a bundle, which replaces `folder` when the block is over.

    Raises:
        UserError: another process is writing it.
        WriteError: it cannot be written.
    """
    with atomic_folder(folder) as new, _temporary_files_in(folder.with_name(f".{folder.name}.temporary")):
        yield new


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Let the libraries that export write their temporary files, as large as the bundle, to `folder`, not to TMPDIR."""
    shutil.rmtree(folder, ignore_errors=True)  # of a killed process
    folder.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
