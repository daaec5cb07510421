"""The exception whose message is written for the user."""

import difflib
from collections.abc import Iterable

ANOTHER_CONFIG = "holds a run of another config"  # part of a job's error message, by which the sweep recognises it


class UserError(Exception):
    """An error that the user can fix: the message names the file or key, what is wrong, and what to do.

    The command line prints the message alone, without a stack trace, and exits with `exit_code`.
    """

    exit_code = 2


class RunInUse(UserError):  # noqa: N818 - named after the state of the run
    """Another process is training in the run folder; a sweep skips the run."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h


def closest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...` for a misspelt name, or an empty string if no known name is similar."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}" if near else ""


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise a UserError if the value of the config key `key` is not one of `choices`."""
    known = tuple(choices)
    if value not in known:
        raise UserError(f"{key}={value} is unknown: choose one of {', '.join(known)}.")
