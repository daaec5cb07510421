"""Reads a whole file, if it is an ordinary one and not too large."""

import os
import stat
from pathlib import Path

from fpcn_lightning.data.files import why_no_file
from fpcn_lightning.data.images.limits import DEFAULT_LIMITS, ImageLimits, UnreadableImage

_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a FIFO would wait for a writer


def read_file(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Read a whole file.

    Raises:
        UnreadableImage: there is no such file, it is a folder, a device or a pipe, is too large, or cannot be read.
    """
    if (reason := why_no_file(path)) is not None:  # before it is opened, which devices may react to
        raise UnreadableImage(reason)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _WITHOUT_WAITING), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImage("the file was replaced while it was opened")
            limits.check_bytes(status.st_size)
            data = file.read(status.st_size + 1)  # a file that grows meanwhile stays limited
    except MemoryError:
        raise UnreadableImage("there is not enough memory to read the file") from None
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read: {error.strerror or error}") from error
    return data
