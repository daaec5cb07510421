"""Files that are replaced in one step, so that a reader never finds half of one."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` in a single step when the block is over; its folder is made.

    If the block fails, `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str) -> Path:
    """Write a file, or replace it, in a single step, and return its path; its folder is made."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
