from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from fpcn_lightning.config import CurveConfig, ReportConfig, WithinConfig
from fpcn_lightning.errors import UserError
from fpcn_lightning.report.settings import CurveSettings, ReportSettings, WithinSettings, read_settings
from fpcn_lightning.runs.results import Run
from tests.runs.test_results import make_result


def run_with(section: Any, started: str = "2024-05-01T12:00:00+00:00") -> Run:
    result = make_result(started=started)
    if section is not None:
        result["config"]["report"] = section
    return Path("run"), result


def test_the_run_that_was_started_last_has_the_say() -> None:
    runs = [
        run_with({"reference": "new"}, "2024-05-02T12:00:00+00:00"),
        run_with({"reference": "old"}, "2024-05-01T12:00:00+00:00"),
        run_with(None, "2024-05-03T12:00:00+00:00"),
    ]
    assert read_settings(runs) == {"reference": "new"}


def test_runs_of_an_earlier_version_have_no_settings() -> None:
    assert read_settings([run_with(None)]) == {}
    assert read_settings([]) == {}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("full", "'config.report' is str, not dict"),
        ({"paper": {"mask": "92"}}, "'config.report.paper.mask' is str, not float"),
        ({"curve": {"x": "model.theta"}}, "'config.report.curve.label' is missing"),
        ({"remarks": {"lenet": 50.5}}, "'config.report.remarks.lenet' is float, not str"),
        ({"paper_gains": {"mask": "0.9"}}, "'config.report.paper_gains.mask' is str, not float"),
        ({"paper_costs": {"plain": 4.2}}, "'config.report.paper_costs.plain' is float, not dict"),
        ({"remarks": ["lenet"]}, "'config.report.remarks' is list, not dict"),
        ({"reach": "80 %"}, "'config.report.reach' is str, not float"),
        ({"reach": True}, "'config.report.reach' is bool, not float"),
        ({"within": "swin"}, "'config.report.within' is str, not dict"),
        ({"within": {"group": "swin", "condition": "scratch"}}, "'config.report.within.baseline' is missing"),
        (
            {"within": {"group": 1, "condition": "scratch", "baseline": "a"}},
            "'config.report.within.group' is int, not str",
        ),
    ],
)
def test_a_section_that_is_none_is_named(section: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"result.json of run.*{message}"):
        read_settings([run_with(section)])


def test_a_cost_that_no_column_has_is_named() -> None:
    with pytest.raises(
        UserError, match=r"report\.paper_costs\.plain=flops is unknown: choose one of parameters, mflops"
    ):
        read_settings([run_with({"paper_costs": {"plain": {"flops": 1}}})])


def test_what_the_schema_allows_can_be_read() -> None:
    section = {
        "reference": None,
        "paper": {"mask": 92, "center": 91.2},
        "paper_gains": {"mask": 0.9},
        "paper_costs": {"plain": {"parameters": 4.2, "mflops": 1080, "milliseconds": 0.64}},
        "source": None,
        "curve": {"x": "model.theta", "line": None, "label": "theta"},
        "remarks": {"mask": "why"},
        "reach": 0.8,
        "within": {"group": "swin", "condition": "fine-tuned", "baseline": "from scratch"},
    }
    assert read_settings([run_with(section)]) == section


def test_the_schema_and_the_reader_know_the_same_keys() -> None:
    """Whatever a config may say, the report can read, and the other way round."""
    for schema, contract in (
        (ReportConfig, ReportSettings),
        (WithinConfig, WithinSettings),
        (CurveConfig, CurveSettings),
    ):
        assert {field.name for field in fields(schema)} == get_type_hints(contract).keys()
