"""The figure is asked what it drew, from rows that are given."""

from typing import Any

import pytest
from matplotlib.axes import Axes

from fpcn_lightning.report.canvas import MARKERS
from fpcn_lightning.report.within import draw_within
from tests.report.test_columns import make_row
from tests.report.test_sweep_figures import lines_of, panels_of


def row_of(group: str, condition: str, accuracy: float, gain: float | None = None, **changes: Any) -> Any:
    ends = {"accuracy_low": accuracy - 0.05, "accuracy_high": accuracy + 0.04}
    gained = {} if gain is None else {"difference": gain, "difference_low": gain - 0.02, "difference_high": gain + 0.03}
    values = {
        "variant": f"{group}-{condition}",
        "group": group,
        "condition": condition,
        "reference": f"{group}-scratch",
    }
    return make_row(accuracy=accuracy, **ends, **gained | values | changes)


TUNED, SCRATCH = row_of("swin", "tuned", 0.9, 0.3), row_of("swin", "scratch", 0.6)
OTHER = [row_of("resnet", "scratch", 0.5), row_of("resnet", "tuned", 0.8, 0.25)]


def points_of(axes: Axes, colour: object = None) -> list[tuple[float, float]]:
    """Where the points of all conditions, or of the one with a colour, lie, by height."""
    points = []
    for line, (x, y) in zip(axes.get_lines(), lines_of(axes), strict=True):
        if line.get_marker() in MARKERS and colour in (None, line.get_color()):
            points += list(zip(x, y, strict=True))
    return sorted(points, key=lambda point: point[1])


def written(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_conditions_of_a_group_lie_below_each_other_with_what_they_gain() -> None:
    left, right = panels_of(draw_within([TUNED, *OTHER, SCRATCH]))
    found = points_of(left)
    assert [accuracy for accuracy, _ in found] == [90, 60, 50, 80]
    assert [label.get_text() for label in left.get_yticklabels()] == ["swin", "resnet"]
    middles = left.get_yticks()
    assert found[0][1] < middles[0] < found[1][1] < found[2][1] < middles[1] < found[3][1]
    assert points_of(right) == [(30.0, found[0][1]), (25.0, found[3][1])]
    assert written(right) == ["+30.0", "+25.0"]


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_no_point_is_cut_off_whichever_row_comes_first(first: int) -> None:
    rows = [TUNED, *OTHER, SCRATCH]
    for axes in panels_of(draw_within([rows[first], *rows])):
        low, high = axes.get_xlim()
        assert all(low < x < high for x, _ in points_of(axes))


def test_no_difference_does_not_blow_up_the_axis() -> None:
    equal = row_of("swin", "tuned", 0.6, 0.0, difference_low=-1e-17, difference_high=1e-17)
    _, right = panels_of(draw_within([SCRATCH, equal]))
    assert right.get_xlim() == pytest.approx((-1, 1))


def test_a_condition_has_one_colour_in_every_group_and_panel() -> None:
    drawing = draw_within([TUNED, *OTHER, SCRATCH])
    assert drawing is not None
    handles = drawing.figure.legends[0].legend_handles
    colours = {str(handle.get_label()): handle.get_color() for handle in handles if handle}  # type: ignore[attr-defined]
    assert list(colours) == ["tuned", "scratch"]
    left, right = drawing.figure.axes
    assert [[x for x, _ in points_of(left, colour)] for colour in colours.values()] == [[90, 80], [60, 50]]
    assert [[x for x, _ in points_of(right, colour)] for colour in colours.values()] == [[30, 25], []]


def test_epochs_are_a_panel_where_they_are_known() -> None:
    rows = [
        row_of("swin", "tuned", 0.9, 0.3, target_accuracy=0.8, epochs_to_target=4.5, seeds_at_target=1),
        row_of("swin", "scratch", 0.6, target_accuracy=0.8, seeds_at_target=0),
        row_of("swin", "other", 0.7, 0.1, target_accuracy=0.8),
    ]
    drawing = draw_within(rows)
    *_, epochs = panels_of(drawing)
    assert epochs.get_xlabel() == "epochs to 80 %"
    assert [x for x, _ in points_of(epochs)] == [4.5]
    assert sorted(written(epochs)) == ["1 of 2: 4.5", "never"]
    assert epochs.get_xlim()[0] == 0
    assert epochs.get_xlim()[1] > 4.5
    assert drawing is not None
    assert "epochs until validation" in drawing.caption


def test_panels_and_caption_hold_only_what_is_there() -> None:
    drawing = draw_within([SCRATCH])
    assert len(panels_of(drawing)) == 1
    assert drawing is not None
    assert "difference" not in drawing.caption


def test_without_groups_or_intervals_there_is_no_figure() -> None:
    assert draw_within([make_row(accuracy_low=0.7, accuracy_high=0.9)]) is None
    assert draw_within([make_row(group="swin", condition="tuned")]) is None
    assert draw_within([]) is None
