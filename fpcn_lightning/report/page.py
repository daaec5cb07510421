"""One HTML page that holds everything: it needs no other file, no script and no network to be read."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fpcn_lightning.html_pages import templates
from fpcn_lightning.report.columns import brief_table, results_table
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.explanation_page import HEAT_COLOURS
from fpcn_lightning.report.formats import NOT_KNOWN, percent, with_interval
from fpcn_lightning.report.groups import group_notes, groups_of, groups_table
from fpcn_lightning.report.heat_section import HeatSection
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.object_ratio import BinRow
from fpcn_lightning.report.page_figure import PageFigure, chart
from fpcn_lightning.report.panels import as_jpeg, last_panels
from fpcn_lightning.report.provenance import ABSENT, config_text, facts, shared_config
from fpcn_lightning.report.teaching import class_gains, lessons_of, teaching_notes, teaching_table
from fpcn_lightning.report.text_table import TextTable
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.report.verdict import compared_rows, experiment_verdict
from fpcn_lightning.runs.folders import PAGE_NAME
from fpcn_lightning.runs.results import Run
from fpcn_lightning.runs.sameness import decisive
from fpcn_lightning.runs.status import status_of

_HEAT_CAPTION = "What the networks of the first seed look at; the colours of each heat map are scaled to its own range."


class PageContent(NamedTuple):
    """What the page shows of one experiment."""

    experiment: Experiment
    figures: Mapping[Path, str]  # SVG files and their captions
    bins: Sequence[BinRow]  # rows by object ratio
    heat: HeatSection | None = None
    heat_figures: Sequence[Path] = ()  # PNG files


@dataclass(frozen=True)
class _RunLine:
    """A run in the list of all runs."""

    folder: str
    link: str
    seed: int
    status: str
    error: str | None
    accuracy: str
    epochs: str
    seconds: str
    started: str
    commit: str
    device: str
    command: str | None


@dataclass(frozen=True)
class _Section:
    """The part of the page about one experiment, as the template reads it."""

    name: str
    verdict: Sequence[str]
    commands: Sequence[str]
    brief: TextTable | None  # None where it would be the whole table
    table: TextTable
    groups: TextTable | None
    teaching: TextTable | None
    class_gains: TextTable | None
    notes: Sequence[str]
    figures: Sequence[PageFigure]
    bins: TextTable | None
    heat_sentences: Sequence[str]
    heat_tables: Sequence[TextTable]
    heat_figures: Sequence[PageFigure]
    panels: Sequence[PageFigure]
    differing: TextTable
    shared: Mapping[str, str]
    facts: Mapping[str, Sequence[str]]
    runs: Sequence[_RunLine]


def make_page(contents: Sequence[PageContent], folder: Path) -> str:
    """The page as HTML.

    Args:
        contents: what it shows of each experiment.
        folder: of the page; links to run folders are relative to it.
    """
    sections = [_section(content, folder) for content in contents]
    title = " · ".join(section.name for section in sections)
    page = templates("fpcn_lightning.report").get_template("page.html.jinja")
    return page.render(title=title, sections=sections, heat_colours=HEAT_COLOURS)


def _section(content: PageContent, folder: Path) -> _Section:
    experiment, heat = content.experiment, content.heat
    runs, groups, lessons = experiment.runs, groups_of(experiment), lessons_of(experiment)
    results = [result for _, result in runs]
    table, brief = results_table(experiment.rows), brief_table(compared_rows(experiment), experiment.rows)
    return _Section(
        name=experiment.name,
        verdict=experiment_verdict(experiment),
        commands=experiment.commands,
        brief=brief if (brief.headings, brief.lines) != (table.headings, table.lines) else None,
        table=table,
        groups=groups_table(groups) if groups else None,
        teaching=teaching_table(lessons) if lessons else None,
        class_gains=class_gains(lessons) if lessons else None,
        notes=list(
            dict.fromkeys(
                [
                    *notes(experiment),
                    *group_notes(experiment, groups),
                    *teaching_notes(lessons),
                    *(heat.notes if heat else ()),
                ]
            )
        ),
        figures=[chart(path, caption) for path, caption in content.figures.items()],
        bins=_bin_table(content.bins) if content.bins else None,
        heat_sentences=heat.sentences if heat else (),
        heat_tables=heat.tables if heat else (),
        heat_figures=[PageFigure(as_jpeg(path), _HEAT_CAPTION, kind="photo") for path in content.heat_figures],
        panels=_panels(experiment.variants),
        differing=_differing(experiment),
        shared=shared_config(results),
        facts=facts(results),
        runs=[_run_line(run, folder) for run in runs],
    )


def _panels(variants: Sequence[Variant]) -> list[PageFigure]:
    """Of each variant with panels: the last ones of one of its runs."""
    found = [(variant.name, last) for variant in variants if (last := last_panels(variant))]
    return [
        PageFigure(last.source, f"{name}, seed {last.seed}, after epoch {last.epoch}", kind="photo")
        for name, last in found
    ]


def _bin_table(bins: Sequence[BinRow]) -> TextTable:
    headings = ["area", "share", "pictures", "variant", "accuracy %", "95 % interval", "difference"]
    lines = []
    for row in bins:
        gain, mean = row.difference, row.accuracy
        difference = with_interval(gain.value, gain.low, gain.high) if gain else "reference"
        share = f"{percent(row.low)} to {percent(row.high)} %"
        interval = f"[{percent(mean.low)}, {percent(mean.high)}]"
        lines.append([row.area, share, str(row.pictures), row.variant, percent(mean.value), interval, difference])
    return TextTable(headings, lines, {"area": "text", "share": "text", "variant": "text"})


def _differing(experiment: Experiment) -> TextTable:
    """The config keys, except the seed, that are not the same in all variants, with the values of each."""
    first = {
        variant.name: decisive(run[1]["config"])
        for variant in experiment.variants
        for run in (*variant.tested, *variant.others)[:1]
    }
    every = sorted({key for config in first.values() for key in config if key != "seed"})
    keys = [key for key in every if len({config_text(config.get(key, ABSENT)) for config in first.values()}) > 1]
    lines = [[name, *(config_text(config.get(key, ABSENT)) for key in keys)] for name, config in first.items()]
    return TextTable(["variant", *keys], lines, {"variant": "text"})


def _run_line(run: Run, folder: Path) -> _RunLine:
    place, result = run
    inside, status = os.path.relpath(place, folder), status_of(run)
    inference_mode, total = result["inference_mode"], result["seconds"]["total"]
    tested = result["metrics"]["test"] if result["metrics"] else {}
    return _RunLine(
        folder=inside,
        link=quote(os.fsencode(inside)) + "/" + (PAGE_NAME if (place / PAGE_NAME).is_file() else ""),
        seed=result["seed"],
        status=status.status,
        error=status.error,
        accuracy=percent(tested[inference_mode]["accuracy"]) if inference_mode in tested else NOT_KNOWN,
        epochs=NOT_KNOWN if result["epochs"] is None else str(result["epochs"]),
        seconds=NOT_KNOWN if total is None else f"{total:.0f}",
        started=result["started"],
        commit=(result["code"]["commit"] or NOT_KNOWN)[:12] + ("*" if result["code"]["dirty"] else ""),
        device=result["device"] or NOT_KNOWN,
        command=result.get("command"),
    )
