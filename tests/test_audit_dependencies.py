"""The audit of the pinned packages, with the answers of pip-audit made up."""

import json
from pathlib import Path

import pytest

from tests.audit_dependencies import CONSTRAINTS, STORED, main, pins


@pytest.fixture
def constraints(tmp_path: Path) -> Path:
    path = tmp_path / "constraints.txt"
    path.write_text("# pins\nPillow==12.3.0  # an old one\ntorch==2.14.1\nsome.thing==1.0\n", encoding="utf-8")
    return path


def test_without_a_network_the_stored_list_is_used(constraints: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(constraints, ask=lambda _: None) == 1
    printed = capsys.readouterr().out
    assert "pillow 12.3.0: CVE-2026-96643, fixed in 13.0.0" in printed
    assert "torch: CVE-2025-3000 is accepted (a hostile TorchScript program" in printed
    assert "3 pinned packages, 1 known vulnerabilities, by the stored list of 2026-" in printed


@pytest.mark.parametrize(
    ("vulnerabilities", "code"),
    [
        ([], 0),
        ([{"id": "GHSA-1", "fix_versions": ["2.0"]}], 1),
        ([{"id": "PYSEC-1", "aliases": ["CVE-2025-3000"], "fix_versions": []}], 0),  # accepted, by its other name
    ],
)
def test_with_a_network_pip_audit_is_used(
    vulnerabilities: list[object], code: int, constraints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"name": "some-thing", "version": "1.0", "vulns": vulnerabilities}
    report = {"dependencies": [entry, {"name": "local", "skip_reason": "not on PyPI"}], "fixes": []}
    assert main(constraints, ask=lambda _: report) == code
    printed = capsys.readouterr().out
    assert printed.endswith("by pip-audit, which did not know 1 of them\n")
    assert ("some-thing 1.0: GHSA-1, fixed in 2.0" in printed) == bool(code)


def test_no_pin_of_this_project_is_on_the_stored_list() -> None:
    assert main(ask=lambda _: None) == 0
    known = {each["package"] for each in json.loads(STORED.read_text(encoding="utf-8"))["advisories"]}
    assert known & pins(CONSTRAINTS).keys() >= {"pillow", "torch"}
