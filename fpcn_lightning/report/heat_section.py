"""What a report says of heat maps: table, comparisons, findings and figures of one experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.formats import markdown_table
from fpcn_lightning.report.heat_findings import findings
from fpcn_lightning.report.localisation import (
    Comparison,
    Localised,
    compare,
    comparison_cells,
    heat_cells,
    heat_csv,
    localised_variants,
)

EXPLANATIONS = "explanations"  # the folder of the figures that task=explain draws
NAME = "localisation"  # of the tables


@dataclass(frozen=True)
class HeatSection:
    """What was measured of the heat maps of one experiment.

    Attributes:
        found: its networks.
        comparisons: between them.
        sentences: what that says in words, and what kept a network out.
    """

    experiment: str
    found: Sequence[Localised]
    comparisons: Sequence[Comparison]
    sentences: Sequence[str]

    @property
    def markdown(self) -> str:
        """Tables and sentences."""
        tables = [heat_cells(self.found)] + [comparison_cells(self.comparisons)] * bool(self.comparisons)
        return "\n".join([*(markdown_table(*table) for table in tables), *(f"- {each}" for each in self.sentences), ""])


def heat_section(experiment: Experiment) -> HeatSection | None:
    """The section of an experiment; None where nothing was measured."""
    remarks: list[str] = []
    found = localised_variants(experiment.variants, remarks)
    if not found:
        return None
    comparisons = compare(experiment, found, remarks)
    return HeatSection(experiment.name, found, comparisons, [*findings(found, comparisons), *remarks])


def write_heat_sections(sections: Sequence[HeatSection], folder: Path) -> None:
    """Write localisation.md and .csv, or remove those of an earlier report where there is nothing to say."""
    if not sections:
        for suffix in ("md", "csv"):
            (folder / f"{NAME}.{suffix}").unlink(missing_ok=True)
        return
    headed = [f"## {each.experiment}\n\n" if len(sections) > 1 else "" for each in sections]
    markdown = "\n".join(heading + each.markdown for heading, each in zip(headed, sections, strict=True))
    (folder / f"{NAME}.md").write_text(markdown, encoding="utf-8", errors="replace")
    lines = heat_csv([(each.experiment, each.found) for each in sections])
    (folder / f"{NAME}.csv").write_text(lines, encoding="utf-8", errors="replace")


def figures_of(experiment: str, folder: Path, *, several: bool) -> list[Path]:
    """The figures that task=explain drew of an experiment, in the folder of the report."""
    return sorted((folder / EXPLANATIONS / (experiment if several else "")).glob("panels*.png"))
