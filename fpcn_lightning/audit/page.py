"""The page of an audit: the verdict first, then what it rests on, with thumbnails; it needs no other file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from fpcn_lightning.audit.cues import Cue
from fpcn_lightning.audit.findings import FINDINGS_NAME, Finding, Kind, Severity
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.names import escaped
from fpcn_lightning.html_pages import image_uri, templates
from fpcn_lightning.report.formats import NOT_KNOWN, percent
from fpcn_lightning.report.text_table import TextTable

SHOWN = 40  # findings of one kind with thumbnails; the CSV has all
_LISTED = 200  # rows of a table
_THUMBNAIL = 160  # pixels, the longer side
_TITLES = {
    Kind.CONFLICT: "One photograph, two labels",
    Kind.ACROSS_SPLITS: "One photograph in two splits",
    Kind.LABEL_ERROR: "Labels that are probably wrong",
    Kind.NEAR_COPY: "Near copies",
    Kind.EXACT_COPY: "Exact copies",
    Kind.UNREADABLE: "Files that cannot be read",
    Kind.SUSPICIOUS: "Files that deserve a look",
}
_ABOUT_COPIES = (Kind.CONFLICT, Kind.ACROSS_SPLITS)


@dataclass(frozen=True)
class AuditContent:
    """What the page shows."""

    data: RockDataModule
    findings: Sequence[Finding]
    groups: Sequence[int]  # of the images, by position
    cues: Sequence[Cue]
    groups_file: Path

    @cached_property
    def positions(self) -> dict[str, int]:
        """The position of each image by its name."""
        return {item.name: at for at, item in enumerate(self.data.index.pictures)}


class _Shot(NamedTuple):
    source: str  # data URI
    name: str
    label: str


class _Shown(NamedTuple):
    """A finding with thumbnails."""

    shots: Sequence[_Shot]
    detail: str


class _Section(NamedTuple):
    """Findings of one kind."""

    title: str
    total: int
    shown: Sequence[_Shown]
    table: TextTable | None


def make_page(content: AuditContent) -> str:
    """The page as HTML."""
    index = content.data.index
    by_kind: dict[Kind, list[Finding]] = {}
    for finding in content.findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    worse = {(item.image, item.other) for kind in _ABOUT_COPIES for item in by_kind.get(kind, ())}
    for kind in (Kind.NEAR_COPY, Kind.EXACT_COPY):  # pairs that are shown once already
        by_kind[kind] = [item for item in by_kind.get(kind, ()) if (item.image, item.other) not in worse]
    sections = [_section(content, kind, by_kind[kind]) for kind in _TITLES if by_kind.get(kind)]
    page = templates("fpcn_lightning.audit", "fpcn_lightning.report").get_template("page.html.jinja")
    return page.render(
        title=f"Audit of {escaped(index.root.name)}",
        verdict=verdict(content.findings),
        sentences=sentences(content),
        overview=_overview(content),
        classes=_classes(content),
        cues=_cue_table(content.cues),
        sections=sections,
        root=escaped(str(index.root)),
        groups=escaped(str(content.groups_file)),
        table_name=FINDINGS_NAME,
        has_groups=len(set(content.groups)) < len(content.groups),
    )


def verdict(findings: Sequence[Finding]) -> str:
    """One sentence about the whole."""
    count = Counter(finding.severity for finding in findings)
    if count[Severity.SERIOUS]:
        return "Do not train on this yet: it would give wrong numbers."
    if count[Severity.WARNING]:
        return "Nothing serious was found; there are warnings."
    return "Nothing was found that a training would suffer from."


def sentences(content: AuditContent) -> list[str]:
    """What was found, in a few sentences, the most serious first; for the page and for the terminal."""
    findings = content.findings
    found = [item.detail for item in findings if item.kind in (Kind.UNREADABLE_SHARE, Kind.NO_SPLIT)]
    for kind, said in (
        (Kind.CONFLICT, "has copies under different labels: remove the wrong ones"),
        (Kind.ACROSS_SPLITS, "is in more than one split: the test is easier than reality"),
    ):
        pairs = [item for item in findings if item.kind is kind]
        if pairs:
            found.append(f"{_photographs(_groups_of(content, pairs))} {said} ({len(pairs):,} pairs)")
    found += [item.detail for item in findings if item.kind in (Kind.CUE, Kind.BALANCE)]
    counts = Counter(item.kind for item in findings)
    if counts[Kind.LABEL_ERROR]:
        found.append(f"{_count(counts[Kind.LABEL_ERROR], 'label')} may be wrong: look at the pictures below")
    if counts[Kind.UNREADABLE]:
        found.append(f"{_count(counts[Kind.UNREADABLE], 'file')} cannot be read and would not be used")
    extra = len(content.groups) - len(set(content.groups))
    if extra:
        found.append(f"{_count(extra, 'image')} more than different photographs or groups")
    return found


def _groups_of(content: AuditContent, pairs: Sequence[Finding]) -> int:
    """How many groups pairs belong to."""
    return len({content.groups[content.positions[item.image]] for item in pairs})


def _photographs(count: int) -> str:
    return "1 photograph" if count == 1 else f"Each of {count:,} photographs"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _overview(content: AuditContent) -> TextTable:
    counts = Counter((item.kind, item.severity) for item in content.findings)
    lines = [[kind.value, severity.value, f"{count:,}"] for (kind, severity), count in counts.items()]
    return TextTable(["finding", "severity", "rows"], lines, {"finding": "text", "severity": "text"})


def _classes(content: AuditContent) -> TextTable:
    pictures = content.data.index.pictures
    images = Counter(item.label for item in pictures)
    different = Counter(label for label, _ in {(item.label, item.digest) for item in pictures})
    photographs = Counter(
        label for label, _ in {(item.label, group) for item, group in zip(pictures, content.groups, strict=True)}
    )
    refused = Counter(item.label for item in content.data.index.refused)
    lines = [
        [label, *(f"{each[label]:,}" for each in (images, different, photographs, refused))]
        for label in sorted({*images, *refused})
    ]
    headings = ["class", "images", "different files", "different photographs", "unreadable"]
    return TextTable(headings, lines, {"class": "text"})


def _cue_table(cues: Sequence[Cue]) -> TextTable:
    lines = []
    for cue in cues:
        recall = cue.recall
        interval = NOT_KNOWN if recall is None else f"[{percent(recall.low)}, {percent(recall.high)}]"
        value = percent(None if recall is None else recall.value)
        said = "for comparison" if cue.is_rock else "tells the class" if cue.is_suspicious else "no cue"
        lines.append([cue.name, value, interval, percent(cue.chance), NOT_KNOWN if recall is None else said])
    headings = ["predicted from", "mean recall %", "95 % interval", "guessing %", "verdict"]
    return TextTable(headings, lines, {"predicted from": "text", "verdict": "text"})


def _section(content: AuditContent, kind: Kind, findings: Sequence[Finding]) -> _Section:
    count, title = len(findings), _TITLES[kind]
    if kind is Kind.UNREADABLE:
        lines = [[escaped(item.image), item.label, item.detail] for item in findings[:_LISTED]]
        table = TextTable(["file", "class", "reason"], lines, {"file": "text", "class": "text", "reason": "message"})
        return _Section(title, count, (), table)
    return _Section(title, count, [_with_thumbnails(content, item) for item in findings[:SHOWN]], None)


def _with_thumbnails(content: AuditContent, finding: Finding) -> _Shown:
    shots = [_shot(content, content.positions[name]) for name in (finding.image, finding.other) if name]
    return _Shown(shots, finding.detail)


def _shot(content: AuditContent, position: int) -> _Shot:
    item = content.data.index.pictures[position]
    return _Shot(image_uri(content.data.thumbnail(position, _THUMBNAIL)), escaped(item.name), item.label)
