"""Texts that spreadsheets would compute, in every table of the package."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.field.results import csv_line
from fpcn_lightning.report.columns import to_csv
from fpcn_lightning.report.groups import groups_csv
from fpcn_lightning.report.table import summarise
from fpcn_lightning.report.text_table import TextTable, markdown_text, to_markdown
from fpcn_lightning.runs.csv_text import as_before, formula_free
from fpcn_lightning.runs.heat_maps import MEASURES_NAME, write_heat_maps
from fpcn_lightning.runs.predictions import PREDICTIONS_NAME, write_predictions
from tests.runs.test_results import make_result

FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'=1", "''=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_text_and_is_read_back(text: str) -> None:
    written = formula_free(text)
    assert written == f"'{text}"
    assert as_before(str(written)) == text


@pytest.mark.parametrize("text", ["", "basalt", "-1.5", "+2", "1e-3", "a=b", "'quoted'", "inf"])
def test_other_texts_stay(text: str) -> None:
    assert formula_free(text) == text
    assert as_before(text) == text


def formulas_in(text: str) -> list[str]:
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert len(cells) > 3
    return [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not cell[1:].strip(".0123")]


@pytest.mark.parametrize("formula", FORMULAS[:5])
def test_no_table_has_a_formula(formula: str, tmp_path: Path) -> None:
    result = make_result(experiment=formula, variant=formula)
    write_predictions(tmp_path / PREDICTIONS_NAME, [formula], [0], [formula, "b"], np.array([[0.5, 0.5]], np.float32))
    row = {"name": formula, "label": formula, "predicted": formula}
    write_heat_maps(tmp_path, [row], [], {})
    tables = [
        to_csv(summarise([(tmp_path, result)])),
        csv_line(["path", "class", formula, [formula]]),
        groups_csv([]) + "a,b,c,d\n",
        (tmp_path / PREDICTIONS_NAME).read_text(encoding="utf-8"),
        (tmp_path / MEASURES_NAME).read_text(encoding="utf-8"),
    ]
    for table in tables:
        cells = [cell for row in csv.reader(io.StringIO(table, newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(formula)]
    assert all(f"'{formula}" in table for number, table in enumerate(tables) if number != 2 and "\t" not in formula)


def test_markdown_shows_texts_as_they_are() -> None:
    hostile = "<script>alert(1)</script> & [x](javascript:alert(1)) ![](http://example.org)\n# no heading"
    table = to_markdown(TextTable(["variant", hostile], [[hostile, "1|2"]], {}))
    for text in (table, markdown_text(hostile)):
        assert "<" not in text
        assert "&lt;script&gt;" in text
        assert "](" not in text
        assert "\n#" not in text
    assert r"1\|2" in table
    assert table.count("\n") == 3
