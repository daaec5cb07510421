"""Figures are asked what they drew: matplotlib keeps every line with its data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from fpcn_lightning.report.canvas import Drawing, save_figure
from fpcn_lightning.report.forest import draw_differences
from fpcn_lightning.report.sweep_figures import draw_curve, draw_learning_curves
from tests.report.run_folders import leave_run
from tests.report.test_experiments import only

IMAGES = 50


def leave(folder: Path, variant: str, correct: int, seed: int = 0, **config: Any) -> None:
    right = np.arange(IMAGES) < correct
    leave_run(folder / variant / f"seed-{seed}", right, variant=variant, seed=seed, config=config)


def panels_of(drawing: Drawing | None) -> list[Axes]:
    assert drawing is not None
    return drawing.figure.axes


def lines_of(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """The values of every line and error bar, in the order of drawing."""

    def numbers(values: ArrayLike) -> list[float]:
        rounded: list[float] = np.asarray(values, dtype=float).round(6).tolist()
        return rounded

    return [(numbers(line.get_xdata()), numbers(line.get_ydata())) for line in axes.get_lines()]


def test_learning_curves_are_means_over_seeds(tmp_path: Path) -> None:
    for seed in (0, 2):  # the metrics of a made-up run rise by a point with the seed
        leave(tmp_path, "mask", 30, seed)
    (axes,) = panels_of(draw_learning_curves(only(tmp_path)))
    assert lines_of(axes) == [([1, 2, 3, 4], [41.0, 51.0, 61.0, 71.0])]
    band = axes.collections[0].get_paths()[0].vertices
    assert {(1.0, 40.0), (1.0, 42.0), (4.0, 70.0), (4.0, 72.0)} <= set(map(tuple, np.asarray(band).round(6).tolist()))


def test_seeds_that_stopped_early_count_as_far_as_they_came(tmp_path: Path) -> None:
    for seed in (0, 1):
        leave(tmp_path, "mask", 30, seed)
    (tmp_path / "mask" / "seed-1" / "metrics.csv").write_text("epoch,val/accuracy\n0,0.6\n", encoding="utf-8")
    (axes,) = panels_of(draw_learning_curves(only(tmp_path)))
    assert lines_of(axes) == [([1, 2, 3, 4], [50.0, 50.0, 60.0, 70.0])]


def test_of_many_variants_the_reference_and_the_best_are_named(tmp_path: Path) -> None:
    for number in range(12):
        leave(tmp_path, f"v{number:02}", 30, report={"reference": "v03"})
        metrics = f"epoch,val/accuracy\n0,{number / 100}\n"
        (tmp_path / f"v{number:02}" / "seed-0" / "metrics.csv").write_text(metrics, encoding="utf-8")
    drawing = draw_learning_curves(only(tmp_path))
    assert drawing is not None
    names = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert names == ["v03", "v07", "v08", "v09", "v10", "v11"]
    assert len(drawing.figure.axes[0].get_lines()) == 12
    assert "Of the 12 variants, the reference and the best" in drawing.caption


def test_a_caption_names_no_reference_where_there_is_none(tmp_path: Path) -> None:
    for number in range(11):
        leave(tmp_path, f"v{number:02}", 30)
    drawing = draw_learning_curves(only(tmp_path))
    assert drawing is not None
    assert "Of the 11 variants, the best" in drawing.caption
    (tmp_path / "v00" / "seed-0" / "metrics.csv").unlink()
    drawing = draw_learning_curves(only(tmp_path))
    assert drawing is not None
    assert "named" not in drawing.caption


def test_a_single_epoch_is_seen_for_every_variant_and_with_its_spread(tmp_path: Path) -> None:
    """Equal variants must not hide each other, and a point has no line that would be seen without a marker."""
    for variant in ("full", "mask"):
        for seed, accuracy in enumerate((0.5, 0.7)):
            leave(tmp_path, variant, 30, seed)
            metrics = f"epoch,val/accuracy\n0,{accuracy}\n"
            (tmp_path / variant / f"seed-{seed}" / "metrics.csv").write_text(metrics, encoding="utf-8")
    (axes,) = panels_of(draw_learning_curves(only(tmp_path)))
    (first, second), spreads = lines_of(axes), axes.collections
    assert first[1] == second[1] == [60.0]
    assert first[0] != second[0]
    assert all(line.get_marker() not in (None, "None", "") for line in axes.get_lines())
    ends = [np.asarray(spread.get_paths()[0].vertices)[:, 1].round(6).tolist() for spread in spreads]
    assert ends == [[50.0, 70.0], [50.0, 70.0]]


def test_runs_without_metrics_have_no_learning_curves(tmp_path: Path) -> None:
    leave(tmp_path, "mask", 30)
    (tmp_path / "mask" / "seed-0" / "metrics.csv").unlink()
    assert draw_learning_curves(only(tmp_path)) is None


def curve_of(x: str, line: str | None = None) -> dict[str, Any]:
    return {"curve": {"x": x, "line": line, "label": "what varies"}}


def test_a_curve_sorts_variants_by_number_and_into_lines(tmp_path: Path) -> None:
    for pairs, number, correct in (("all", 10, 40), ("all", 2, 35), ("nearest", 2, 30)):
        model = {"pairs": pairs, "pairs_per_image": number}
        leave(tmp_path, f"{pairs}-{number}", correct, model=model, report=curve_of("model.pairs_per_image", pairs))
    leave(tmp_path, "plain", 20, model={}, report=curve_of("model.pairs_per_image", "none"))  # knows no pairs

    drawing = draw_curve(only(tmp_path))

    (axes,) = panels_of(drawing)
    lines = lines_of(axes)
    assert ([2, 10], [70.0, 80.0]) in lines
    assert ([2], [60.0]) in lines
    assert drawing is not None
    assert [text.get_text() for text in drawing.figure.legends[0].get_texts()] == ["all", "nearest"]
    assert axes.get_xlabel() == "what varies"
    assert not any(40.0 in y for _, y in lines)


def test_every_seed_is_a_dot(tmp_path: Path) -> None:
    for seed, correct in enumerate((30, 40)):
        leave(tmp_path, "mask", correct, seed, model={"theta": 0.5}, report=curve_of("model.theta"))
    (axes,) = panels_of(draw_curve(only(tmp_path)))
    assert lines_of(axes)[:2] == [([0.5, 0.5], [60.0, 80.0]), ([0.5], [70.0])]


def test_pairs_in_a_batch_are_counted(tmp_path: Path) -> None:
    report = curve_of("pairs_in_a_batch", "fpcn")
    model = {"pairs_per_image": 3}
    leave(tmp_path, "mask", 30, model=model, data={"samples_per_class": 7}, report=report)
    (axes,) = panels_of(draw_curve(only(tmp_path)))
    assert lines_of(axes)[0][0] == [3 * 7 * 2]
    assert axes.get_legend_handles_labels()[1] == ["fpcn"]


def test_a_wide_range_is_drawn_by_doublings(tmp_path: Path) -> None:
    for theta in (1, 2, 16):
        leave(tmp_path, f"t{theta}", 30, model={"theta": theta}, report=curve_of("model.theta"))
    (axes,) = panels_of(draw_curve(only(tmp_path)))
    assert axes.get_xscale() == "log"
    assert axes.get_xticks().tolist() == [1, 2, 16]


@pytest.mark.parametrize("report", [{}, curve_of("model.nothing"), curve_of("model.mask")])
def test_without_a_number_there_is_no_curve(tmp_path: Path, report: dict[str, Any]) -> None:
    leave(tmp_path, "mask", 30, model={"mask": True}, report=report)
    assert draw_curve(only(tmp_path)) is None


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    leave(tmp_path / "runs", "mask", 30)
    for name in ("first", "second"):
        drawing = draw_differences(only(tmp_path / "runs"))
        assert drawing is not None
        save_figure(drawing.figure, tmp_path / name, "differences")
    for file in ("differences.svg", "differences.png"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
