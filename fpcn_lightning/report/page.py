"""One HTML page that holds everything: it needs no other file, no script and no network to be read."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from fpcn_lightning.html_pages import data_uri, templates
from fpcn_lightning.report.columns import results_table
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.formats import NOT_KNOWN, percent, with_interval
from fpcn_lightning.report.groups import group_notes, groups_of, groups_table
from fpcn_lightning.report.heat_section import HeatSection
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.object_ratio import BinRow
from fpcn_lightning.report.panels import as_jpeg, last_panels
from fpcn_lightning.report.text_table import TextTable
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.results import Result, Run
from fpcn_lightning.runs.sameness import decisive, flatten
from fpcn_lightning.runs.status import status_of

_ABSENT = "absent"
_HEAT_CAPTION = "What the networks of the first seed look at; the colours of each heat map are scaled to its own range."


class PageContent(NamedTuple):
    """What the page shows of one experiment."""

    experiment: Experiment
    figures: Mapping[Path, str]  # SVG files and their captions
    bins: Sequence[BinRow]  # rows by object ratio
    heat: HeatSection | None = None
    heat_figures: Sequence[Path] = ()  # PNG files


@dataclass(frozen=True)
class _Figure:
    """A figure inside the page."""

    source: str  # data URI
    caption: str


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
    commands: Sequence[str]
    table: TextTable
    groups: TextTable | None
    notes: Iterable[str]
    figures: Sequence[_Figure]
    bins: TextTable | None
    heat_sentences: Sequence[str]
    heat_tables: Sequence[TextTable]
    heat_figures: Sequence[_Figure]
    panels: Sequence[_Figure]
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
    return page.render(title=title, sections=sections)


def _section(content: PageContent, folder: Path) -> _Section:
    experiment, heat = content.experiment, content.heat
    runs, groups = experiment.runs, groups_of(experiment)
    results = [result for _, result in runs]
    return _Section(
        name=experiment.name,
        commands=experiment.commands,
        table=results_table(experiment.rows),
        groups=groups_table(groups) if groups else None,
        notes=dict.fromkeys([*notes(experiment), *group_notes(experiment, groups)]),
        figures=[_Figure(_inline(path), caption) for path, caption in content.figures.items()],
        bins=_bin_table(content.bins) if content.bins else None,
        heat_sentences=heat.sentences if heat else (),
        heat_tables=heat.tables if heat else (),
        heat_figures=[_Figure(as_jpeg(path), _HEAT_CAPTION) for path in content.heat_figures],
        panels=_panels(experiment.variants),
        differing=_differing(experiment),
        shared=_shared(results),
        facts=_facts(results),
        runs=[_run_line(run, folder) for run in runs],
    )


def _inline(svg: Path) -> str:
    return data_uri(svg.read_bytes(), "svg+xml")


def _panels(variants: Sequence[Variant]) -> list[_Figure]:
    """Of each variant with panels: the last ones of one of its runs."""
    found = [(variant.name, last) for variant in variants if (last := last_panels(variant))]
    return [_Figure(last.source, f"{name}, seed {last.seed}, after epoch {last.epoch}") for name, last in found]


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
    keys = [key for key in every if len({_text(config.get(key, _ABSENT)) for config in first.values()}) > 1]
    lines = [[name, *(_text(config.get(key, _ABSENT)) for key in keys)] for name, config in first.items()]
    return TextTable(["variant", *keys], lines, {"variant": "text"})


def _shared(results: Iterable[Result]) -> dict[str, str]:
    """The config keys that have the same value in every run."""
    configs = [flatten(result["config"]) for result in results]
    keys = sorted({key for config in configs for key in config})
    values = {key: {_text(config.get(key, _ABSENT)) for config in configs} for key in keys}
    return {key: next(iter(found)) for key, found in values.items() if len(found) == 1}


def _facts(results: Sequence[Result]) -> dict[str, list[str]]:
    """Code, machine, data and packages of the runs: every distinct value of what should be the same in all of them."""
    packages = {name for result in results for name in result["packages"]}
    facts = {
        "commit": [_commit(result) for result in results],
        "device": [result["device"] or NOT_KNOWN for result in results],
        "split": [_split(result) for result in results if result["data"]],
        "pretrained weights": [result["network"]["weights"] for result in results if result["network"]],
        "fpcn_lightning": [result["code"]["version"] for result in results],
        **{name: [result["packages"].get(name, NOT_KNOWN) for result in results] for name in sorted(packages)},
    }
    return {name: list(dict.fromkeys(values)) for name, values in facts.items() if values}


def _commit(result: Result) -> str:
    code = result["code"]
    return (code["commit"] or "no commit") + (" with uncommitted changes" if code["dirty"] else "")


def _split(result: Result) -> str:
    if not result["data"]:
        return NOT_KNOWN
    counts = ", ".join(f"{number:,} {split}" for split, number in result["data"]["images"].items())
    return f"{result['data']['fingerprint']}: {counts}, {len(result['data']['classes'])} classes"


def _run_line(run: Run, folder: Path) -> _RunLine:
    place, result = run
    inside, status = os.path.relpath(place, folder), status_of(run)
    inference_mode, total = result["inference_mode"], result["seconds"]["total"]
    tested = result["metrics"]["test"] if result["metrics"] else {}
    return _RunLine(
        folder=inside,
        link=quote(os.fsencode(inside)) + "/",
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


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
