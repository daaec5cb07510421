"""Which code a run was made with."""

import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fpcn_lightning import __version__
from fpcn_lightning.runs.results import Code


def code_of_package() -> Code:
    """Version of this package, and the commit of its checkout if it is one."""
    place = Path(__file__).parent

    def git(*words: str) -> str:
        command = ["git", "-C", str(place), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed package may be inside an unrelated checkout, whose commit would be misleading.
        git("ls-files", "--error-unmatch", "__init__.py")
        return Code(version=__version__, commit=git("rev-parse", "HEAD"), dirty=bool(git("status", "--porcelain")))
    except (OSError, subprocess.CalledProcessError):
        return Code(version=__version__, commit=None, dirty=None)


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those of the packages that are installed."""
    return {name: found for name in packages if (found := _version(name)) is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
