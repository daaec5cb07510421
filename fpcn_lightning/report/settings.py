"""The section `report` of a config: what the tables and figures of an experiment compare."""

from collections.abc import Iterable
from typing import NotRequired, TypedDict, cast

from fpcn_lightning.errors import UserError, check_choice
from fpcn_lightning.runs.results import Run
from fpcn_lightning.runs.schema_check import check

PAPER_COSTS = ("parameters", "mflops", "milliseconds")


class CurveSettings(TypedDict):
    """A figure of accuracy against the config key `x`; `line` names the line that the run lies on."""

    x: str
    line: NotRequired[str | None]
    label: str


class WithinSettings(TypedDict):
    """The group of the run, its condition there, and the condition that the others are compared with."""

    group: str
    condition: str
    baseline: str


class ReportSettings(TypedDict):
    """What is compared with what: see `ReportConfig` in `fpcn_lightning.config`.

    `curve` and `within` are the run's own, all else is the experiment's.
    """

    reference: NotRequired[str | None]
    paper: NotRequired[dict[str, float] | None]
    paper_gains: NotRequired[dict[str, float] | None]
    paper_costs: NotRequired[dict[str, dict[str, float]] | None]
    source: NotRequired[str | None]
    remarks: NotRequired[dict[str, str] | None]
    reach: NotRequired[float | None]
    curve: NotRequired[CurveSettings | None]
    within: NotRequired[WithinSettings | None]


def read_settings(runs: Iterable[Run]) -> ReportSettings:
    """The section `report` of the run that was started last; empty where no run has one.

    Raises:
        UserError: the section is not what `fpcn_lightning.config` allows.
    """
    with_section = [run for run in runs if run[1]["config"].get("report") is not None]
    if not with_section:
        return ReportSettings()
    folder, result = max(with_section, key=lambda run: run[1]["started"])
    section = result["config"]["report"]
    try:
        check(section, ReportSettings, "config.report")
    except ValueError as error:
        raise UserError(f"result.json of {folder} cannot be used: {error}. Run it again.") from error
    settings = cast(ReportSettings, section)
    for group, costs in (settings.get("paper_costs") or {}).items():
        for key in costs:
            check_choice(f"report.paper_costs.{group}", key, PAPER_COSTS)
    return settings
