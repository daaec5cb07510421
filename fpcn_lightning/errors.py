"""The exceptions whose messages are written for the user, and what the user is told about others."""

import difflib
import errno
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fpcn_lightning.installation import MODULES, extra_of, install_command, lacking, missing_modules

# Parts of a job's error message, by which the sweep recognises it.
ANOTHER_CONFIG = "holds a run of another config"
OTHER_IMAGES = "holds a run with other images"


class UserError(Exception):
    """An error that the user can fix: the message names the file or key, what is wrong, and what to do.

    The command line prints the message alone, without a stack trace, and exits with `exit_code`.
    """

    exit_code = 2


class MissingPackage(UserError):  # noqa: N818 - named after the state of the installation
    """A package of an extra is not installed; the message has the command that installs it."""

    @classmethod
    def check(cls, what: str, extra: str, alternative: str = "") -> None:
        """Check that the packages of an extra are installed, without importing them: before a long work, not after it.

        Args:
            what: needs them, for the message.
            extra: one of `fpcn_lightning.installation.MODULES`.
            alternative: what else the user can do, with the comma before it.

        Raises:
            MissingPackage: names those that are not.
        """
        if missing := missing_modules(MODULES[extra]):
            raise cls(f"{lacking(what, missing, extra)}{alternative}.")


class RunInUse(UserError):  # noqa: N818 - named after the state of the run
    """Another process is training in the run folder; a sweep skips the run."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_ERRORS = (*_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)
_MEGABYTE = 1e6


class WriteError(OSError):
    """A file or folder that could not be written; the message says where, why, and what to do.

    Attributes:
        room: free space on its disk when it failed, as text; empty where that is not the reason.
        advice: what to do.
    """

    exit_code = 1
    room = ""
    advice = "choose another folder, or change the permissions"

    @classmethod
    def of(cls, path: Path, error: OSError, advice: str | None = None) -> "WriteError":
        """The error for `path`, whose writing failed with `error`."""
        if isinstance(error, WriteError):
            made = cls(error.errno, error.strerror, error.filename)
            made.room, made.advice = error.room, error.advice
        else:
            # numpy raises an OSError without a number where it could write only a part of an array.
            made = cls(error.errno or errno.ENOSPC, error.strerror or os.strerror(errno.ENOSPC), str(path))
            if made.errno in _FULL:
                made.room = _free_space(path)
                made.advice = "free some space there, or choose another folder, and run the same command again"
            elif made.errno == errno.EISDIR:
                made.advice = "there is a folder of this name: move it away"
        if advice is not None:
            made.advice = advice
        return made

    def __str__(self) -> str:
        reason = str(self.strerror)
        return f"{self.filename} cannot be written ({reason[:1].lower()}{reason[1:]}{self.room}): {self.advice}."


def is_disk_error(error: OSError) -> bool:
    """Whether an error means that the disk is full, damaged or must not be written to."""
    return error.errno in _DISK_ERRORS or (error.errno is None and " requested and " in str(error))


def _free_space(path: Path) -> str:
    folder = next((parent for parent in path.absolute().parents if parent.is_dir()), Path("/"))
    try:
        usage = shutil.disk_usage(folder)
        no_more_files = hasattr(os, "statvfs") and os.statvfs(folder).f_favail == 0 < os.statvfs(folder).f_files
    except OSError:
        return ""
    files = "; no further file can be made there" if no_more_files else ""
    return f"; {megabytes(usage.free)} of {megabytes(usage.total)} are free{files}"


class Explanation(NamedTuple):
    """What the user is told about an error: one sentence, and the exit code of the process."""

    text: str
    exit_code: int


def explain(error: BaseException) -> Explanation | None:
    """The sentence for an error that the user can do something about; None for any other error."""
    text = str(error)
    if isinstance(error, UserError):
        return Explanation(text, error.exit_code)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if isinstance(error, ModuleNotFoundError) and (extra := extra_of(error.name or "")) is not None:
        return Explanation(f"{error.name} is not installed: {install_command(extra)}.", MissingPackage.exit_code)
    if isinstance(error, RuntimeError) and re.match(r"DataLoader (worker|timed out)", text):
        return Explanation(
            f"a process that reads images has ended or hangs ({text.splitlines()[0].rstrip('. ')}): it may have run "
            "out of memory. Lower data.workers, or read the images in the main process with data.workers=0.",
            1,
        )
    return None


def _explain_os_error(error: OSError) -> Explanation | None:
    if isinstance(error, WriteError):
        return Explanation(str(error), error.exit_code)
    if error.errno in (*_FULL, errno.EROFS):
        named = isinstance(error.filename, str | bytes)
        place = Path(os.fsdecode(error.filename)) if named else Path.cwd() / "a file"
        return Explanation(str(WriteError.of(place, error)), WriteError.exit_code)
    if error.filename is None:
        return None
    return Explanation(f"{error.filename}: {error.strerror}.", WriteError.exit_code)


def megabytes(size: float) -> str:
    """A size in bytes as text in MB, with a tenth below 100 MB, so that sizes which differ by little look different."""
    return f"{size / _MEGABYTE:,.{0 if size >= 100 * _MEGABYTE else 1}f} MB"


def closest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...` for a misspelt name, or an empty string if no known name is similar."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}" if near else ""


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise a UserError if the value of the config key `key` is not one of `choices`."""
    known = tuple(choices)
    if value not in known:
        raise UserError(f"{key}={value} is unknown: choose one of {', '.join(known)}.")


def check_file(key: str, path: Path) -> None:
    """Raise a UserError if `path`, the value of the config key `key`, is not a file."""
    if not path.is_file():
        raise UserError(f"{key}={path} is not a file.")
