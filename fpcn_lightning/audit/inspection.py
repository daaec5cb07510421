"""The whole audit of a data set: what is measured, in which order, and what is left in a folder."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fpcn_lightning.audit import balance, copies, cues, files
from fpcn_lightning.audit.candidates import find_candidates
from fpcn_lightning.audit.copies import GROUPS_NAME, Copy
from fpcn_lightning.audit.cues import Cue
from fpcn_lightning.audit.descriptors import PROBE, Descriptors, describe, whole_grey
from fpcn_lightning.audit.findings import FINDINGS_NAME, Finding, Kind, Severity, write_findings
from fpcn_lightning.audit.labels import label_errors
from fpcn_lightning.audit.matching import verified
from fpcn_lightning.audit.page import AuditContent, make_page, sentences, verdict
from fpcn_lightning.audit.prediction import mean_recall, probabilities
from fpcn_lightning.config import DataConfig
from fpcn_lightning.data.datamodule import RockDataModule
from fpcn_lightning.data.scan import REFUSED_NAME, write_refused
from fpcn_lightning.data.split import Split, configured_split
from fpcn_lightning.errors import UserError
from fpcn_lightning.models.on_backbone import OnBackbone
from fpcn_lightning.runs.atomic_write import atomic_folder, write_text_atomically
from fpcn_lightning.runs.folders import PAGE_NAME

logger = logging.getLogger(__name__)

_STRENGTH = 1e-3  # C of the probe on the features of the backbone


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        findings: the most serious first.
        folder: what it was written to.
        groups: of the images, by the position of the first image of each.
        verdict: one sentence.
        sentences: what was found, in a few sentences, the most serious first.
    """

    findings: Sequence[Finding]
    folder: Path
    groups: Sequence[int]
    verdict: str
    sentences: Sequence[str]

    @property
    def serious(self) -> list[Finding]:
        """Findings that make the numbers of a training wrong."""
        return [finding for finding in self.findings if finding.severity is Severity.SERIOUS]

    @property
    def page(self) -> Path:
        """The page for a reader."""
        return self.folder / PAGE_NAME


def audit(config: DataConfig, network: OnBackbone, folder: Path) -> Audit:
    """Audit a data set, and write `index.html`, `audit.csv`, `groups.csv` and `refused.csv` to a folder.

    Files that cannot be read and conflicting labels are found, not refused; nothing is trained but linear probes.

    Args:
        config: the section `data`; images are squashed to 224 px, whatever it says.
        network: its backbone describes the images.
        folder: it is replaced as a whole.

    Raises:
        UserError: there are no images of two classes, or the section is invalid.
    """
    shown = replace(
        config, tiles=False, fit="squash", resize=PROBE, crop=PROBE, evaluation_crop=None, random_crop=False,
        mirrored_views=False, max_unreadable_share=1.0, conflicting_labels="keep",
    )  # fmt: skip
    data = RockDataModule(shown, seed=0, only_test=True)
    data.setup()
    pictures = data.index.pictures
    if len(data.index.classes) < 2:
        raise UserError(f"{data.index.root} has usable images of one class only: an audit needs at least two classes.")
    splits, problem = _splits(config, data)
    different = np.array(list({item.digest: at for at, item in reversed(list(enumerate(pictures)))}.values())[::-1])
    descriptors = describe(network, data.pictures, different)
    pairs = [*copies.exact_copies(pictures), *_near(data, descriptors, different)]
    groups = copies.groups_of(pictures, pairs)
    formats = files.read_formats(pictures)
    measured, errors = _predicted(data, descriptors, different, groups, formats)
    published = any(item.published for item in pictures)
    counts = Counter(pictures[at].label for at in different)
    findings = [
        *files.unreadable(data.index, config.max_unreadable_share),
        *problem,
        *copies.findings_of(pairs, pictures, splits, published),
        *balance.findings_of({label: counts[label] for label in data.index.classes}),
        *cues.findings_of(measured),
        *errors,
        *files.suspicious(pictures, formats, data.pictures.whole),
    ]
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.severity))
    with atomic_folder(folder) as new:
        write_findings(findings, new / FINDINGS_NAME)
        write_refused(data.index, new / REFUSED_NAME)
        copies.write_groups(pictures, groups, data.marked, new / GROUPS_NAME)
        content = AuditContent(data, findings, groups, measured, folder / GROUPS_NAME)
        write_text_atomically(new / PAGE_NAME, make_page(content), errors="replace")
    return Audit(findings, folder, groups, verdict(findings), sentences(content))


def _splits(config: DataConfig, data: RockDataModule) -> tuple[dict[int, str], list[Finding]]:
    """The split of each image: the published one, or that of a training; and a finding where there can be none."""
    pictures = data.index.pictures
    if any(item.published for item in pictures):
        return {at: item.published for at, item in enumerate(pictures) if item.published}, []
    try:
        return _by_position(configured_split(data.index, config.split)), []
    except UserError as error:
        return {}, [Finding(Kind.NO_SPLIT, Severity.SERIOUS, str(error))]


def _by_position(split: Split) -> dict[int, str]:
    named = {"train": split.train, "val": split.val, "test": split.test}
    return {position: name for name, positions in named.items() for position in positions}


def _near(data: RockDataModule, descriptors: Descriptors, different: NDArray[np.int64]) -> list[Copy]:
    def read(number: int) -> torch.Tensor:
        return whole_grey(data.pictures, int(different[number]))

    matches = verified(find_candidates(descriptors), descriptors.grey, read)
    return copies.near_copies(matches, different.tolist())


def _predicted(
    data: RockDataModule,
    descriptors: Descriptors,
    different: NDArray[np.int64],
    groups: Sequence[int],
    formats: Sequence[str],
) -> tuple[list[Cue], list[Finding]]:
    """How well labels are predicted from the rock and from what is not rock, and labels that are probably wrong."""
    pictures = [data.index.pictures[at] for at in different]
    classes, labels = np.unique([item.label for item in pictures], return_inverse=True)
    if len(classes) < 2:
        return [], []
    own, own_formats = ([each[at] for at in different] for each in (groups, formats))
    progress = tqdm(different.tolist(), "borders", delay=2, disable=None, leave=False)
    borders = np.stack([cues.border_features(data.pictures.whole(at)) for at in progress])
    found = probabilities(descriptors.features.astype(np.float64), labels, own, _STRENGTH)
    chance = 1 / len(classes)
    measured = [
        Cue("The whole image", None if found is None else mean_recall(found, labels), chance, is_rock=True),
        cues.measure("The border of the image", borders, labels, own),
        cues.measure("The size and format of the file", cues.file_features(pictures, own_formats), labels, own),
    ]
    return measured, [] if found is None else label_errors(pictures, labels, found, classes.tolist())
