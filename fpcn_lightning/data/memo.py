"""What reading a data set showed, kept so that files unchanged since are not read again."""

import json
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

Facts = tuple[str, int, int]  # digest, width and height of a picture
Memo = dict[tuple[str, int, int], Facts]  # by name, size in bytes, and time of the last change in ns

_SCHEMA = 1


def read_memo(path: Path) -> Memo:
    """What was kept; nothing where the memo is missing, damaged or of another schema, since it can be made anew."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != _SCHEMA:
            return {}
        return {
            (str(name), int(size), int(mtime_ns)): (str(digest), int(width), int(height))
            for name, size, mtime_ns, digest, width, height in content["files"]
        }
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def write_memo(path: Path, memo: Memo) -> None:
    """Keep a memo in one step; where that is not possible, say so and go on, for nothing depends on it."""
    # A name of its own for each process, and a rename: a reader never sees half a memo.
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    content = {"schema": _SCHEMA, "files": [(*key, *facts) for key, facts in memo.items()]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        logger.warning("what was read is not kept in %s (%s): it will be read again", path, error.strerror)
