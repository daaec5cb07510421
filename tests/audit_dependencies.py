"""Looks for known vulnerabilities of the pinned packages: `make audit-dependencies`.

Asks pip-audit where there is a network; else compares the pins with the stored list `tests/advisories.json`, which is
short and has a date. Says which of the two was used. Exits with 1 if a pinned version has a known vulnerability that
the stored list does not accept: one that no version fixes, with the reason why it does not matter here.
"""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
STORED = Path(__file__).with_name("advisories.json")
SECONDS = 300

Ask = Callable[[Path], Any]


class Finding(NamedTuple):
    """A pinned package with a known vulnerability."""

    package: str
    version: str
    identifiers: tuple[str, ...]  # the first one is shown
    fixed: str


def pins(constraints: Path) -> dict[str, str]:
    """The version of each package of a constraints file, by its normalised name."""
    lines = (line.partition("#")[0].strip() for line in constraints.read_text(encoding="utf-8").splitlines())
    found = (Requirement(line) for line in lines if line)
    return {canonicalize_name(each.name): next(iter(each.specifier)).version for each in found}


def ask_pip_audit(constraints: Path) -> Any:
    """The report of pip-audit; None where it is not installed, has no network, or finds none of the packages there."""
    if importlib.util.find_spec("pip_audit") is None:
        return None
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        report = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # without a network it prints no report
        return None
    return report if any("skip_reason" not in each for each in report["dependencies"]) else None


def from_report(report: Mapping[str, Any]) -> list[Finding]:
    """What pip-audit found."""
    return [
        Finding(
            each["name"],
            each["version"],
            (found["id"], *found.get("aliases", ())),
            ", ".join(found["fix_versions"]) or "no version",
        )
        for each in report["dependencies"]
        for found in each.get("vulns", ())
    ]


def from_list(pinned: Mapping[str, str], advisories: Iterable[Mapping[str, str]]) -> list[Finding]:
    """Pins that are older than the version that fixes a stored advisory."""
    return [
        Finding(each["package"], pinned[each["package"]], (each["id"],), each["fixed"])
        for each in advisories
        if each["package"] in pinned and Version(pinned[each["package"]]) < Version(each["fixed"])
    ]


def main(constraints: Path = CONSTRAINTS, stored: Path = STORED, ask: Ask = ask_pip_audit) -> int:
    """Print what was used and what was found; returns the exit code."""
    pinned = pins(constraints)
    known = json.loads(stored.read_text(encoding="utf-8"))
    if (report := ask(constraints)) is not None:
        skipped = sum("skip_reason" in each for each in report["dependencies"])
        used, reported = f"pip-audit, which did not know {skipped} of them", from_report(report)
    else:
        used = f"the stored list of {known['date']} ({len(known['advisories'])} advisories), since pip-audit gave none"
        reported = from_list(pinned, known["advisories"])
    accepted = [each for each in known["accepted"] if each["package"] in pinned]
    names = {each["id"] for each in accepted}
    found = [each for each in reported if not names.intersection(each.identifiers)]
    for each in found:
        print(f"{each.package} {each.version}: {each.identifiers[0]}, fixed in {each.fixed}")
    for one in accepted:
        print(f"{one['package']}: {one['id']} is accepted ({one['why']})")
    print(f"{len(pinned)} pinned packages, {len(found)} known vulnerabilities, by {used}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
