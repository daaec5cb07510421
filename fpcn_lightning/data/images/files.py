"""Reads a whole file, if it is an ordinary one and not too large."""

import os
import stat
from pathlib import Path

from fpcn_lightning.data.images.limits import DEFAULT_LIMITS, ImageLimits, UnreadableImage

_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # opening a FIFO would wait for a writer


def read_file(path: Path, limits: ImageLimits = DEFAULT_LIMITS) -> bytes:
    """Read a whole file.

    Raises:
        UnreadableImage: there is no such file, it is a folder, a device or a pipe, is too large, or cannot be read.
    """
    try:
        _check_ordinary(path.stat())  # before it is opened, which devices may react to
        with os.fdopen(os.open(path, os.O_RDONLY | _WITHOUT_WAITING), "rb") as file:
            status = os.fstat(file.fileno())
            _check_ordinary(status)
            limits.check_bytes(status.st_size)
            data = file.read(status.st_size + 1)  # a file that grows meanwhile stays limited
    except FileNotFoundError:
        raise UnreadableImage("there is no such file") from None
    except MemoryError:
        raise UnreadableImage("there is not enough memory to read the file") from None
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read: {error.strerror or error}") from error
    except ValueError:  # a null character
        raise UnreadableImage("this is not a valid file name") from None
    return data


def _check_ordinary(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableImage("this is a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage("this is a device or a pipe, not a file")
