"""One HTML page that holds everything: it needs no other file, no script and no network to be read."""

import base64
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.formats import NOT_KNOWN, TEXT_HEADINGS, cells, percent, with_interval
from fpcn_lightning.report.groups import group_cells, group_notes, groups_of
from fpcn_lightning.report.heat_section import HeatSection
from fpcn_lightning.report.localisation import comparison_cells, heat_cells
from fpcn_lightning.report.notes import notes
from fpcn_lightning.report.object_ratio import BinRow
from fpcn_lightning.report.panels import as_jpeg, last_panels
from fpcn_lightning.report.variants import Variant
from fpcn_lightning.runs.results import Result, Run
from fpcn_lightning.runs.sameness import decisive, flatten
from fpcn_lightning.runs.status import ending

_ABSENT = "absent"
_HEAT_CAPTION = "What the networks of the first seed look at; each heat map is scaled by itself."


@dataclass(frozen=True)
class Picture:
    """A figure inside the page."""

    source: str  # data URI
    caption: str


@dataclass(frozen=True)
class Table:
    """Headings, which of them stand above text, and lines of cells."""

    headings: Sequence[str]
    lines: Sequence[Sequence[str]]

    @property
    def is_text(self) -> list[bool]:
        """By column: whether it is set to the left."""
        return [heading in _TEXT for heading in self.headings]


_TEXT = TEXT_HEADINGS | {"area", "share", "compared with"}


class Content(NamedTuple):
    """What the page shows of one experiment."""

    experiment: Experiment
    figures: Mapping[Path, str]  # SVG files and their captions
    bins: Sequence[BinRow]  # rows by object ratio
    heat: HeatSection | None = None
    heat_figures: Sequence[Path] = ()  # PNG files


def make_page(contents: Sequence[Content], folder: Path) -> str:
    """The page as HTML.

    Args:
        contents: what it shows of each experiment.
        folder: where the page will lie; links to run folders are relative to it.
    """
    environment = Environment(
        loader=PackageLoader("fpcn_lightning.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(content, folder) for content in contents]
    title = " · ".join(section["name"] for section in sections)
    return environment.get_template("page.html.jinja").render(title=title, sections=sections)


def _section(content: Content, folder: Path) -> dict[str, Any]:
    experiment = content.experiment
    runs, groups = experiment.runs, groups_of(experiment)
    return {
        "name": experiment.name,
        "commands": experiment.commands,
        "table": Table(*cells(experiment.rows)),
        "groups": Table(*group_cells(groups)) if groups else None,
        "notes": dict.fromkeys([*notes(experiment), *group_notes(experiment, groups)]),
        "figures": [Picture(_inline(path), caption) for path, caption in content.figures.items()],
        "bins": _bin_table(content.bins) if content.bins else None,
        "heat": _heat(content),
        "panels": _panels(experiment.variants),
        "differing": _differing(experiment),
        "shared": _shared([result for _, result in runs]),
        "facts": _facts([result for _, result in runs]),
        "runs": [_run(run, folder) for run in runs],
    }


def _inline(svg: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"


def _panels(variants: Sequence[Variant]) -> list[Picture]:
    """Of each variant that drew any: what one of its runs drew last."""
    found = [(variant.name, last) for variant in variants if (last := last_panels(variant))]
    return [Picture(last.source, f"{name}, seed {last.seed}, after epoch {last.epoch}") for name, last in found]


def _heat(content: Content) -> dict[str, Any] | None:
    """What was measured of heat maps, in words and tables, and the figures that go with it."""
    heat, figures = content.heat, [Picture(as_jpeg(path), _HEAT_CAPTION) for path in content.heat_figures]
    if heat is None and not figures:
        return None
    tables = [] if heat is None else [heat_cells(heat.found), comparison_cells(heat.comparisons)]
    return {
        "sentences": [] if heat is None else heat.sentences,
        "tables": [Table(*table) for table in tables if table[1]],
        "figures": figures,
    }


def _bin_table(bins: Sequence[BinRow]) -> Table:
    headings = ["area", "share", "pictures", "variant", "accuracy %", "95 % interval", "difference"]
    lines = []
    for row in bins:
        gain, mean = row.difference, row.accuracy
        difference = with_interval(gain.value, gain.low, gain.high) if gain else "reference"
        share = f"{percent(row.low)} to {percent(row.high)} %"
        interval = f"[{percent(mean.low)}, {percent(mean.high)}]"
        lines.append([row.area, share, str(row.pictures), row.variant, percent(mean.value), interval, difference])
    return Table(headings, lines)


def _differing(experiment: Experiment) -> Table:
    """The config keys that are not the same in all variants, with the values of each; the seed is none of them."""
    first = {
        variant.name: decisive(run[1]["config"])
        for variant in experiment.variants
        for run in (*variant.tested, *variant.others)[:1]
    }
    every = sorted({key for config in first.values() for key in config if key != "seed"})
    keys = [key for key in every if len({_text(config.get(key, _ABSENT)) for config in first.values()}) > 1]
    lines = [[name, *(_text(config.get(key, _ABSENT)) for key in keys)] for name, config in first.items()]
    return Table(["variant", *keys], lines)


def _shared(results: Iterable[Result]) -> dict[str, str]:
    """The config keys that have the same value in every run."""
    configs = [flatten(result["config"]) for result in results]
    keys = sorted({key for config in configs for key in config})
    values = {key: {_text(config.get(key, _ABSENT)) for config in configs} for key in keys}
    return {key: next(iter(found)) for key, found in values.items() if len(found) == 1}


def _facts(results: Sequence[Result]) -> dict[str, list[str]]:
    """Where the runs come from: every distinct value of what is the same in a clean comparison."""
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
    return (code["commit"] or "no commit") + (" with changes that no commit holds" if code["dirty"] else "")


def _split(result: Result) -> str:
    if not result["data"]:
        return NOT_KNOWN
    sides = ", ".join(f"{number:,} {side}" for side, number in result["data"]["images"].items())
    return f"{result['data']['fingerprint']}: {sides}, {len(result['data']['classes'])} classes"


def _run(run: Run, folder: Path) -> dict[str, Any]:
    place, result = run
    inside, ended = os.path.relpath(place, folder), ending(run)
    inference_mode = result["inference_mode"]
    tested = result["metrics"]["test"] if result["metrics"] else {}
    return {
        "folder": inside,
        "link": quote(os.fsencode(inside)) + "/",
        "variant": result["variant"],
        "seed": result["seed"],
        "status": ended.status,
        "accuracy": percent(tested[inference_mode]["accuracy"]) if inference_mode in tested else NOT_KNOWN,
        "epochs": NOT_KNOWN if result["epochs"] is None else result["epochs"],
        "seconds": NOT_KNOWN if result["seconds"]["total"] is None else f"{result['seconds']['total']:.0f}",
        "started": result["started"],
        "commit": (result["code"]["commit"] or NOT_KNOWN)[:12] + ("*" if result["code"]["dirty"] else ""),
        "device": result["device"] or NOT_KNOWN,
        "command": result.get("command"),
        "error": ended.error,
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
