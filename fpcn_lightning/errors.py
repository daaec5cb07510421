"""The one exception whose message is meant for the person at the keyboard."""

import difflib
from collections.abc import Iterable

ANOTHER_CONFIG = "holds a run of another config"  # a job says so in its log, the sweep must understand it


class UserError(Exception):
    """Something the user can mend: the message names the file or key, what is wrong, and the way out.

    The command line prints the message alone, without a stack trace, and exits with `exit_code`.
    """

    exit_code = 2


class RunInUse(UserError):  # noqa: N818 - it says what is the matter with the run
    """Another process is training in the run folder; a sweep leaves the run to it."""

    exit_code = 75  # what sysexits.h calls a temporary failure


def closest(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...` for a misspelt name, or nothing where none of the known ones is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}" if near else ""


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise a UserError unless the value of the config key `key` is one of `choices`."""
    known = tuple(choices)
    if value not in known:
        raise UserError(f"{key}={value} is unknown: choose one of {', '.join(known)}.")
