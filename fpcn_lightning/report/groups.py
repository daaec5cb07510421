"""A table with one line a group: its conditions beside each other, their gains on the baseline, the paper's numbers."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fpcn_lightning.report.comparison import places_in_groups
from fpcn_lightning.report.experiments import Experiment
from fpcn_lightning.report.formats import (
    NOT_KNOWN,
    accuracy_cell,
    difference_cell,
    parameters_cell,
    percent,
    three_digits,
    with_interval,
)
from fpcn_lightning.report.rows import Row, footnotes, marks
from fpcn_lightning.report.settings import WithinSettings
from fpcn_lightning.report.text_table import TextTable
from fpcn_lightning.runs.csv_text import formula_free

_PAPER_COST_HEADINGS = {"parameters": "paper parameters (M)", "mflops": "paper MFLOPs", "milliseconds": "paper ms"}


@dataclass(frozen=True)
class Group:
    """Variants that are compared with one of them.

    Attributes:
        baseline: the condition that the others are compared with.
        rows: by condition, under the configured inference mode; conditions without a result, or of two variants, are
            skipped.
        paper: by condition, the accuracy that the paper gives, 0..1.
        paper_gains: by condition, its gain on the baseline in the paper, -1..1.
        paper_costs: the paper's parameters in millions, its millions of operations, and milliseconds.
        marks: of the remarks about its rows.
    """

    name: str
    baseline: str
    rows: Mapping[str, Row]
    paper: Mapping[str, float]
    paper_gains: Mapping[str, float]
    paper_costs: Mapping[str, float]
    marks: tuple[str, ...]

    @property
    def deployed(self) -> Row:
        """The row whose costs are shown: the baseline's, or the first that there is."""
        return self.rows.get(self.baseline) or next(iter(self.rows.values()))


def groups_of(experiment: Experiment) -> list[Group]:
    """The groups that have a result, in order of appearance; none where rows are not compared within groups."""
    members: dict[str, dict[str, WithinSettings]] = {}
    for variant, place in places_in_groups(experiment.variants).items():
        members.setdefault(place["group"], {})[variant] = place
    groups = [_group(experiment, name, places) for name, places in members.items()]
    return [group for group in groups if group.rows]


def groups_table(groups: Sequence[Group]) -> TextTable:
    """A line a group for a reader, without the columns that have no known cell."""
    conditions = _conditions(groups)
    lines = [_line(group, conditions) for group in groups]
    headings = [heading for heading in lines[0] if any(line[heading] != NOT_KNOWN for line in lines)]
    return TextTable(headings, [[line[heading] for heading in headings] for line in lines], {"group": "text"})


def group_notes(experiment: Experiment, groups: Sequence[Group]) -> list[str]:
    """The notes below the table, in plain text: one or two sentences each; none where there are no groups."""
    if not groups:
        return []
    baselines = " or ".join(dict.fromkeys(group.baseline for group in groups))
    found = [
        f"A group's gains are over its condition {baselines}, in points of percent, with 95 % intervals; its "
        "parameters, GMAC and ms are of that condition's network as it is deployed."
    ]
    if any(group.paper_costs for group in groups):
        found.append(
            "The paper's costs are as printed: of its own networks, pictures and machine. Compare them with each "
            "other, not with those measured here."
        )
    shown = {row.variant for group in groups for row in group.rows.values()}
    remarked = [row for row in experiment.rows if row.remark]
    remarks = zip(remarked, footnotes(experiment.rows), strict=True)
    return found + [note for row, note in remarks if row.variant in shown]


def groups_csv(experiments: Sequence[tuple[str, Sequence[Group]]]) -> str:
    """A line a group, for other programs: accuracies and gains as shares of one, nothing rounded.

    Args:
        experiments: names and groups; the cells of a condition that a group lacks are empty.
    """
    lines = [{"experiment": name, **_numbers(group)} for name, groups in experiments for group in groups]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = list(dict.fromkeys(key for line in lines for key in line))
    writer.writerow(columns)
    for line in lines:
        writer.writerow(formula_free(line.get(key, "")) for key in columns)
    return buffer.getvalue()


def _group(experiment: Experiment, name: str, places: Mapping[str, WithinSettings]) -> Group:
    condition_of = {variant: place["condition"] for variant, place in places.items()}
    conditions, baseline = list(condition_of.values()), next(iter(places.values()))["baseline"]
    inference_mode = {variant.name: variant.inference_mode for variant in experiment.variants}
    rows = [
        row
        for row in experiment.rows
        if row.variant in condition_of and row.inference_mode == inference_mode[row.variant]
    ]
    paper, gains = (
        {condition_of[variant]: value / 100 for variant, value in values.items() if variant in condition_of}
        for values in (experiment.settings.get("paper") or {}, experiment.settings.get("paper_gains") or {})
    )
    if baseline in paper:
        gains |= {name: accuracy - paper[baseline] for name, accuracy in paper.items() if name != baseline}
    mark_of = dict(zip(experiment.rows, marks(experiment.rows), strict=True))
    return Group(
        name=name,
        baseline=baseline,
        rows={
            condition: row
            for row in rows
            if row.accuracy is not None and conditions.count(condition := condition_of[row.variant]) == 1
        },
        paper=paper,
        paper_gains=gains,
        paper_costs=(experiment.settings.get("paper_costs") or {}).get(name, {}),
        marks=tuple(mark for row in rows if (mark := mark_of[row])),
    )


def _conditions(groups: Sequence[Group]) -> list[str]:
    """Of all groups, baselines first."""
    baselines = [group.baseline for group in groups]
    return list(dict.fromkeys([*baselines, *(name for group in groups for name in (*group.rows, *group.paper))]))


def _line(group: Group, conditions: Sequence[str]) -> dict[str, str]:
    rows, cost = group.rows, group.deployed
    return {
        "group": " ".join([group.name, *group.marks]),
        "parameters": parameters_cell(cost),
        "GMAC": three_digits(cost.gmac),
        "ms": three_digits(cost.milliseconds),
        **{f"{name} %": accuracy_cell(rows[name]) if name in rows else NOT_KNOWN for name in conditions},
        **{f"gain of {name}": _gain(rows.get(name)) for name in conditions},
        **{f"paper {name} %": percent(group.paper.get(name)) for name in conditions},
        **{f"paper gain of {name}": with_interval(group.paper_gains.get(name), None, None) for name in conditions},
        **{heading: _as_printed(group.paper_costs.get(key)) for key, heading in _PAPER_COST_HEADINGS.items()},
    }


def _gain(row: Row | None) -> str:
    return NOT_KNOWN if row is None or row.difference is None else difference_cell(row)


def _as_printed(number: float | None) -> str:
    return NOT_KNOWN if number is None else f"{number:,.6g}"


def _numbers(group: Group) -> dict[str, object]:
    cost = group.deployed
    numbers: dict[str, object] = {
        "group": group.name,
        "parameters": cost.parameters,
        "gmac": cost.gmac,
        "milliseconds": cost.milliseconds,
    }
    for name in _conditions([group]):
        row = group.rows.get(name)
        numbers |= {
            f"accuracy of {name}": row and row.accuracy,
            f"gain of {name}": row and row.difference,
            f"gain of {name}, low": row and row.difference_low,
            f"gain of {name}, high": row and row.difference_high,
            f"paper accuracy of {name}": group.paper.get(name),
            f"paper gain of {name}": group.paper_gains.get(name),
        }
    return numbers | {f"paper {key}": value for key, value in group.paper_costs.items()}
