"""The section of a report about heat maps: table, comparisons, findings and figures of one experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.heat_findings import finding_notes, findings
from fpcn_lightning.report.localisation import (
    Localisation,
    LocalisationGain,
    compare,
    gains_table,
    localisation_csv,
    localisation_table,
    localise_variants,
)
from fpcn_lightning.report.text_table import TextTable, markdown_text, to_markdown
from fpcn_lightning.runs.atomic_write import write_text_atomically
from fpcn_lightning.runs.folders import EXPLANATIONS, experiment_part

NAME = "localisation"  # of the tables


@dataclass(frozen=True)
class HeatSection:
    """What was measured of the heat maps of one experiment.

    Attributes:
        found: its networks.
        comparisons: between them.
        sentences: the findings.
        notes: what the measures do not show, and why some networks are skipped.
    """

    experiment: str
    found: Sequence[Localisation]
    comparisons: Sequence[LocalisationGain]
    sentences: Sequence[str]
    notes: Sequence[str]

    @property
    def tables(self) -> list[TextTable]:
        """Of the networks, and of the comparisons where there are any."""
        return [localisation_table(self.found)] + ([gains_table(self.comparisons)] if self.comparisons else [])

    @property
    def markdown(self) -> str:
        """Tables and sentences."""
        below = (f"- {markdown_text(each)}" for each in (*self.sentences, *self.notes))
        return "\n".join([*map(to_markdown, self.tables), *below, ""])


def heat_section(experiment: Experiment) -> HeatSection | None:
    """The section of an experiment; None where nothing was measured."""
    remarks: list[str] = []
    found = localise_variants(experiment.variants, remarks)
    if not found:
        return None
    comparisons = compare(experiment, found, remarks)
    notes = [*finding_notes(found, comparisons), *remarks]
    return HeatSection(experiment.name, found, comparisons, findings(found, comparisons), notes)


def write_heat_sections(sections: Sequence[HeatSection], folder: Path) -> None:
    """Write localisation.md and .csv, or remove those of an earlier report where nothing was measured."""
    if not sections:
        for suffix in ("md", "csv"):
            (folder / f"{NAME}.{suffix}").unlink(missing_ok=True)
        return
    headed = [f"## {markdown_text(each.experiment)}\n\n" if len(sections) > 1 else "" for each in sections]
    markdown = "\n".join(heading + each.markdown for heading, each in zip(headed, sections, strict=True))
    write_text_atomically(folder / f"{NAME}.md", markdown, errors="replace")
    lines = localisation_csv([(each.experiment, each.found) for each in sections])
    write_text_atomically(folder / f"{NAME}.csv", lines, errors="replace")


def figures_of(experiment: str, folder: Path, *, several: bool) -> list[Path]:
    """The figures that task=explain drew of an experiment, in the folder of the report."""
    return sorted(experiment_part(folder, EXPLANATIONS, experiment, several=several).glob("panels*.png"))
