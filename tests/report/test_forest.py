from pathlib import Path

import numpy as np

from fpcn_lightning.report.forest import draw_differences
from tests.report.run_folders import leave_run
from tests.report.test_experiments import only
from tests.report.test_sweep_figures import IMAGES, leave, lines_of, panels_of


def test_the_forest_has_a_point_for_each_row_and_each_difference(tmp_path: Path) -> None:
    for variant, correct in (("full", 40), ("mask", 30)):
        leave(tmp_path, variant, correct, report={"reference": "full"})
    left, right = panels_of(draw_differences(only(tmp_path)))
    assert ([80, 60], [0, 1]) in lines_of(left)
    assert ([-20], [1]) in lines_of(right)
    assert [label.get_text() for label in left.get_yticklabels()] == ["full", "mask"]
    assert right.get_xlabel() == "difference to full (points of %)"


def test_without_a_reference_the_forest_is_one_panel_and_without_predictions_none(tmp_path: Path) -> None:
    leave(tmp_path, "mask", 30)
    assert len(panels_of(draw_differences(only(tmp_path)))) == 1
    (tmp_path / "mask" / "seed-0" / "split.csv").unlink()
    assert draw_differences(only(tmp_path)) is None


def test_the_caption_says_what_is_compared(tmp_path: Path) -> None:
    leave(tmp_path, "full", 40, report={"reference": "full"})
    alone = draw_differences(only(tmp_path))
    leave(tmp_path, "mask", 30, report={"reference": "full"})
    compared = draw_differences(only(tmp_path))
    assert alone is not None
    assert compared is not None
    assert "difference" not in alone.caption
    assert "difference to full" in compared.caption


def test_equal_rows_do_not_blow_up_the_axis(tmp_path: Path) -> None:
    """Of 49 pictures some means differ by a rounding error: an axis of 1e-14 points would show it as a difference."""
    right = np.arange(49) < 33
    for variant in ("full", "mask"):
        for seed in range(3):
            place = tmp_path / variant / f"seed-{seed}"
            leave_run(place, np.roll(right, seed), variant=variant, seed=seed, config={"report": {"reference": "full"}})
    _, right_panel = panels_of(draw_differences(only(tmp_path)))
    low, high = right_panel.get_xlim()
    assert low <= -1
    assert high >= 1
    assert high - low < 5


def test_a_wide_axis_is_left_alone(tmp_path: Path) -> None:
    for variant, correct in (("full", IMAGES), ("mask", 0)):
        leave(tmp_path, variant, correct, report={"reference": "full"})
    left, _ = panels_of(draw_differences(only(tmp_path)))
    assert [round(end) for end in left.get_xlim()] == [-5, 105]
