from pathlib import Path

import numpy as np
from PIL import Image

from fpcn_lightning.report.explanation_page import panels_figure, prediction_verdict
from fpcn_lightning.report.summary_page import SummaryPage, write_summary_page
from fpcn_lightning.report.text_table import TextTable
from tests.report.test_page import NASTY, read, shown


def test_the_page_answers_first(tmp_path: Path) -> None:
    Image.fromarray(np.full((30, 3000, 3), 90, np.uint8)).save(tmp_path / "panels.png")
    table = TextTable(["measure"], [["measured"]], {})
    page = SummaryPage(
        NASTY, ["First.", "Second."], [table], [panels_figure(tmp_path / "panels.png")], "next", ["Last."]
    )
    reader = read(write_summary_page(page, tmp_path).read_text(encoding="utf-8"))
    places = [reader.text.index(word) for word in ("First.", "Second.", "measured", "panels.png", "Last.")]
    assert places == sorted(places)
    assert [picture.size for picture in shown(reader)] == [(1400, 14)]
    assert "script" not in reader.tags


def test_predictions_are_counted_where_folders_name_classes() -> None:
    assert prediction_verdict("fpcn", [True, False, None]) == (
        "fpcn predicts 1 of 2 pictures rightly, by the names of their folders; of 1 others the class is not known."
    )
    assert prediction_verdict("fpcn", [True]).startswith("fpcn predicts 1 of 1 pictures rightly")
    assert "of 2 pictures; whether it is right is not known" in prediction_verdict("fpcn", [None, None])
