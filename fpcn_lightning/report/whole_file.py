"""Records that a reader never meets half-written."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> Path:
    """Write a file, or replace it, in a single step, and return its path; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two writers apart.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    return temporary.replace(path)
