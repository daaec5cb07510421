"""Paths that users write: the home folder in them, and whether there is a file to open."""

import os
import stat
from pathlib import Path


def with_home(path: str) -> str:
    """A path with the home folder for `~` or `~user` at its beginning; as it is where that folder is not known."""
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib raises an error where the folder is not known


def relative_name(path: Path | str, root: Path) -> str:
    """The path from `root`, with slashes; the whole path where none leads there, as from one drive to another."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:
        return Path(path).as_posix()


def why_no_file(path: Path) -> str | None:
    """The reason why a path is not a file that can be opened, a link followed; None if it is one.

    Only the entry in its folder is read. Opening would wait at a pipe, and a device such as /dev/zero never ends.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"the file cannot be read: {error.strerror or error}"
    except ValueError:  # a null character
        return "this is not a valid file name"
    if stat.S_ISREG(mode):
        return None
    return "this is a folder, not a file" if stat.S_ISDIR(mode) else "this is a device, pipe or socket, not a file"
