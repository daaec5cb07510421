"""Whole audits: what was planted is found, nothing else is, and what is written can be used."""

import csv
import itertools
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from fpcn_lightning.audit.findings import Finding, Kind, Severity, write_findings
from fpcn_lightning.audit.inspection import Audit, audit
from fpcn_lightning.cli.main import run_task
from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.probe import Probe
from fpcn_lightning.tasks.audit import SeriousFindings
from tests.audit.conftest import CHANGES
from tests.conftest import composed

COPIES = (Kind.NEAR_COPY, Kind.EXACT_COPY)


def of_kind(found: Audit, *kinds: Kind) -> list[Finding]:
    return [finding for finding in found.findings if finding.kind in kinds]


def pairs(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    return {(min(each.image, each.other), max(each.image, each.other)) for each in findings}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Places(HTMLParser):
    """Everything that a browser would load or follow."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]


@pytest.fixture(scope="module")
def photographs(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[tuple[str, str]]]:
    """24 rocks, changed copies of six of them, and an exact copy of another; and the names of these pairs.

    Without the darker copy: random weights are not robust to brightness.
    """
    root = tmp_path_factory.mktemp("planted") / "photographs"
    shutil.copytree(drawn, root)
    originals = sorted(root.glob("*/*"))
    planted = set()
    kinds = [kind for kind in CHANGES if kind != "darker"]
    for path, kind in zip(originals[::3], kinds, strict=False):
        with Image.open(path) as image:
            CHANGES[kind](image.convert("RGB")).save(path.parent / f"z-{kind}.jpg", quality=90)
        planted.add((path.relative_to(root).as_posix(), f"{path.parent.name}/z-{kind}.jpg"))
    shutil.copy(originals[1], originals[1].parent / "z-exact.jpg")
    planted.add((originals[1].relative_to(root).as_posix(), f"{originals[1].parent.name}/z-exact.jpg"))
    assert len(planted) == len(kinds) + 1
    return root, planted


@pytest.fixture(scope="module")
def found(
    photographs: tuple[Path, set[tuple[str, str]]], network: Probe, tmp_path_factory: pytest.TempPathFactory
) -> Audit:
    folder = tmp_path_factory.mktemp("audits") / "photographs"
    config = DataConfig(root=str(photographs[0]))
    config.cache.directory = str(folder.parent / "cache")
    return audit(config, network, folder)


def test_every_planted_copy_is_found_and_no_other_pair(
    found: Audit, photographs: tuple[Path, set[tuple[str, str]]]
) -> None:
    assert pairs(of_kind(found, *COPIES)) == photographs[1]
    assert len(of_kind(found, Kind.EXACT_COPY)) == 1


def test_copies_in_two_splits_are_serious(found: Audit) -> None:
    across = of_kind(found, Kind.ACROSS_SPLITS)
    assert across
    assert all(finding.severity is Severity.SERIOUS for finding in across)
    # Exact copies are kept together by every training.
    assert not pairs(across) & pairs(of_kind(found, Kind.EXACT_COPY))
    assert found.verdict.startswith("Do not train on this yet")
    assert any("in more than one split" in sentence for sentence in found.sentences)


@pytest.mark.slow
def test_the_groups_keep_copies_in_one_split(
    found: Audit, photographs: tuple[Path, set[tuple[str, str]]], network: Probe, tmp_path: Path
) -> None:
    data = RockDataModule(DataConfig(root=str(found.folder / "groups.csv"), resize=64, crop=64), seed=0)
    data.setup()
    assert len(data.index.pictures) == len(found.groups)
    splits = {position: name for name in ("train", "val", "test") for position in getattr(data.split, name)}
    of_file = {picture.path: splits[position] for position, picture in enumerate(data.index.pictures)}
    root, planted = photographs
    for one, other in planted:
        assert of_file[root / one] == of_file[root / other]
    again = audit(DataConfig(root=str(found.folder / "groups.csv")), network, tmp_path / "again")
    assert len(of_kind(again, *COPIES)) == len(planted)
    assert again.serious == []
    assert rows_of(tmp_path / "again" / "groups.csv") == rows_of(found.folder / "groups.csv")


def test_the_table_has_a_row_for_each_finding(found: Audit) -> None:
    rows = rows_of(found.folder / "audit.csv")
    assert list(rows[0]) == [
        "kind", "severity", "image", "other image", "class", "other class", "score", "detail",
    ]  # fmt: skip
    assert Counter(row["kind"] for row in rows) == Counter(finding.kind.value for finding in found.findings)
    severities = [row["severity"] for row in rows]
    assert severities == sorted(severities, key=[each.value for each in Severity].index)
    row = next(row for row in rows if row["other image"].endswith("z-combined.jpg") or "z-combined" in row["image"])
    assert "mirrored" in row["detail"]
    assert 0.9 <= float(row["score"]) <= 1


def test_the_page_needs_nothing_else(found: Audit) -> None:
    html = found.page.read_text(encoding="utf-8")
    page = Places(html)
    assert page.found
    assert all(place.startswith("data:image/jpeg;base64,") for place in page.found)
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    assert "url(" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    assert html.index(found.verdict) < html.index("<h2>")
    assert all(finding.other in html for finding in of_kind(found, *COPIES))


def test_nothing_but_the_audit_is_left(found: Audit) -> None:
    assert {path.name for path in found.folder.iterdir()} == {"index.html", "audit.csv", "groups.csv", "refused.csv"}


@pytest.mark.slow
def test_copies_under_two_labels_do_not_stop_the_audit(drawn: Path, tmp_path: Path, network: Probe) -> None:
    root = tmp_path / "photographs"
    shutil.copytree(drawn, root)
    one, other = (sorted(folder.iterdir()) for folder in sorted(root.iterdir())[:2])
    shutil.copy(one[0], other[0].parent / "z-exact.jpg")
    with Image.open(one[1]) as image:
        image.convert("RGB").save(other[0].parent / "z-near.jpg", quality=60)
    found = audit(DataConfig(root=str(root)), network, tmp_path / "audit")
    conflicts = of_kind(found, Kind.CONFLICT)
    assert {Path(name).name for pair in pairs(conflicts) for name in pair} >= {"z-exact.jpg", "z-near.jpg"}
    assert len(conflicts) == 2
    assert all(finding.severity is Severity.SERIOUS and finding.label != finding.other_label for finding in conflicts)
    assert found.sentences[0] == (
        "Each of 2 photographs has copies under different labels: remove the wrong ones (2 pairs)"
    )


def test_a_published_split_with_a_copy_is_serious(drawn: Path, tmp_path: Path, network: Probe) -> None:
    root = tmp_path / "photographs"
    for folder in drawn.iterdir():
        for number, path in enumerate(sorted(folder.iterdir())):
            target = root / ("test" if number < 3 else "train") / folder.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    leaked = sorted((root / "test").glob("*/*"))[0]
    shutil.copy(leaked, root / "train" / leaked.parent.name / "leak.jpg")
    found = audit(DataConfig(root=str(root)), network, tmp_path / "audit")
    (across,) = of_kind(found, Kind.ACROSS_SPLITS)
    assert across.detail == "the files are equal: the published split puts them into test and train"
    assert {row["split"] for row in rows_of(tmp_path / "audit" / "groups.csv")} == {"train", "test"}


@pytest.mark.slow
def test_unreadable_and_suspicious_files_are_named(drawn: Path, tmp_path: Path, network: Probe) -> None:
    root = tmp_path / "photographs"
    shutil.copytree(drawn, root)
    folder = sorted(root.iterdir())[0]
    for number in range(3):
        (folder / f"broken-{number}.jpg").write_bytes(b"no image")
    with Image.open(folder / "0000.jpg") as image:
        image.resize((60, 50)).save(folder / "small.png")
        image.rotate(45).save(folder / "png.jpg", "PNG")
    Image.new("RGB", (900, 150), "white").save(folder / "white.png")
    found = audit(DataConfig(root=str(root)), network, tmp_path / "audit")
    assert len(of_kind(found, Kind.UNREADABLE)) == 3
    (share,) = of_kind(found, Kind.UNREADABLE_SHARE)
    assert share.severity is Severity.SERIOUS
    named: dict[str, set[str]] = {}
    for finding in of_kind(found, Kind.SUSPICIOUS):
        named.setdefault(Path(finding.image).name, set()).add(finding.detail)
    assert named == {
        "small.png": {"only 60 x 50 pixels"},
        "png.jpg": {"the file is PNG, its suffix is .jpg"},
        "white.png": {
            "900 x 150 pixels: resizing to a square distorts it", "nearly all pixels have one colour",
        },
    }  # fmt: skip
    assert rows_of(tmp_path / "audit" / "refused.csv")[0]["reason"] == of_kind(found, Kind.UNREADABLE)[0].detail


def test_too_few_images_for_a_split_do_not_stop_the_audit(drawn: Path, tmp_path: Path, network: Probe) -> None:
    root = tmp_path / "photographs"
    for folder in drawn.iterdir():
        (root / folder.name).mkdir(parents=True)
        for path in itertools.islice(sorted(folder.iterdir()), 2):
            shutil.copy(path, root / folder.name)
    found = audit(DataConfig(root=str(root)), network, tmp_path / "audit")
    (problem,) = of_kind(found, Kind.NO_SPLIT)
    assert "has too few pictures" in problem.detail
    assert len(of_kind(found, Kind.BALANCE)) == 3


def test_names_are_escaped_on_the_page_and_no_formula_in_the_table(drawn: Path, tmp_path: Path, network: Probe) -> None:
    root = tmp_path / "photographs"
    shutil.copytree(drawn, root)
    folder = sorted(root.iterdir())[0]
    folder.rename(root / "<script>alert(1)")
    path = sorted((root / "<script>alert(1)").iterdir())[0]
    shutil.copy(path, path.parent / "=cmd.jpg")
    audit(DataConfig(root=str(root)), network, tmp_path / "audit")
    html = (tmp_path / "audit" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    findings = [Finding(Kind.EXACT_COPY, Severity.NOTE, "two\nlines", image="=cmd.png", other="a\n.png")]
    write_findings(findings, tmp_path / "audit.csv")
    (row,) = rows_of(tmp_path / "audit.csv")
    assert (row["image"], row["other image"]) == ("./=cmd.png", "a\\n.png")
    cells = (tmp_path / "audit.csv").read_text().splitlines()[1].split(",")
    assert not any(re.match(r'"?[=+@-]', cell) for cell in cells)


def test_one_class_is_refused(drawn: Path, tmp_path: Path, network: Probe) -> None:
    root = tmp_path / "photographs"
    shutil.copytree(sorted(drawn.iterdir())[0], root / "basalt")
    with pytest.raises(UserError, match="one class only"):
        audit(DataConfig(root=str(root)), network, tmp_path / "audit")


SMALL = ("backbone=test_resnet", "pretrained=false")


@pytest.mark.slow
def test_the_exit_code_tells_what_was_found(drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("task=audit", f"data.root={drawn}", f"output={tmp_path}", *SMALL)
    run_task(composed(*words))  # returns: nothing serious
    (folder,) = (tmp_path / "audits").iterdir()
    assert f"audit: {folder}/index.html" in capsys.readouterr().out
    one, other = (sorted(each.iterdir()) for each in sorted(drawn.iterdir())[:2])
    root = tmp_path / "photographs"
    shutil.copytree(drawn, root)
    shutil.copy(one[0], root / other[0].parent.name / "wrong.jpg")
    with pytest.raises(SeriousFindings, match=r"1 serious finding: read .*index\.html before you train") as raised:
        run_task(composed("task=audit", f"data.root={root}", f"output={tmp_path}", *SMALL))
    assert raised.value.exit_code == 1


def test_a_network_without_a_backbone_is_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="model=probe backbone=NAME"):
        run_task(composed("task=audit", f"data.root={drawn}", f"output={tmp_path}", "model=lenet"))
