"""Files that a crash or a power loss has damaged are renamed, so that the same command can go on without them."""

import itertools
import logging
from pathlib import Path

logger = logging.getLogger(__name__)


def set_aside(path: Path) -> Path:
    """Rename a damaged file, or a folder in its place, to `NAME.damaged`, and say so; returns the new path."""
    names = (f"{path.name}.damaged{number}" for number in itertools.chain([""], itertools.count(2)))
    free = next(other for name in names if not (other := path.with_name(name)).exists())
    path.rename(free)
    logger.warning("%s is damaged, perhaps by a power loss: it is kept as %s", path, free.name)
    return free
