import csv
import io
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fpcn_lightning.report.search import Trial, draw, ranked, selection_bias, trials_csv, trials_markdown, write_search


def make_trial(number: int, correct: int | None = 45, **changes: Any) -> Trial:
    options: dict[str, Any] = {
        "number": number,
        "values": {"optimisation.learning_rate": 0.01 * (number + 1), "model.alpha": "area"},
        "state": "unfinished" if correct is None else "finished",
        "accuracy": None if correct is None else correct / 60,
        "images": None if correct is None else 60,
        "seconds": 12.0,
    }
    return Trial(**(options | changes))


def rows_of(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_best_comes_first_the_earlier_of_equals_and_what_has_no_result_last() -> None:
    failed = make_trial(1, None, state="failed")
    trials = [make_trial(4, 50), make_trial(0, None), failed, make_trial(2, 50), make_trial(3, 0)]
    assert [trial.number for trial in ranked(trials)] == [2, 4, 3, 0, 1]


@pytest.mark.parametrize(("correct", "known"), [(45, True), (0, False), (60, False)])
def test_the_standard_error_is_binomial_and_claims_no_certainty(correct: int, known: bool) -> None:
    outcomes = np.repeat([1.0, 0.0], [correct, 60 - correct])
    assert make_trial(0, correct).standard_error == (pytest.approx(outcomes.std() / np.sqrt(60)) if known else None)


@pytest.mark.parametrize("trials", [2, 5, 20, 100])
def test_selection_bias_is_what_the_best_of_equal_trials_gains(trials: int) -> None:
    best = np.random.default_rng(0).normal(scale=0.03, size=(20_000, trials)).max(axis=1)
    assert selection_bias(trials, 0.03) == pytest.approx(best.mean(), rel=0.04)  # as good as Blom's formula is


def test_the_page_names_the_best_the_difference_to_the_defaults_and_the_selection_bias() -> None:
    text = trials_markdown([make_trial(0, 45), make_trial(1, 48), make_trial(2, 30)], "python -m x 'a b'")
    assert "Best of 3: trial 1, 80.0 ± 5.2 % of 60 validation pictures." in text
    assert "Trial 0, the config's own values, has 75.0 ± 5.6 %: 5.0 points less." in text
    middle = (45 + 48 + 30) / 180
    assert f"by about {100 * selection_bias(3, (middle * (1 - middle) / 60) ** 0.5):.1f} points" in text
    assert "The test split was not used." in text
    assert text.endswith("\n    python -m x 'a b'\n")
    assert [row[0] for row in rows_of(text)[2:]] == ["1", "0", "2"]
    assert rows_of(text)[2][1:] == ["0.02", "area", "80.0 ± 5.2", "12", "finished"]


def test_the_page_says_when_the_defaults_are_best_and_when_there_is_nothing() -> None:
    assert "the search found nothing better" in trials_markdown([make_trial(0, 45), make_trial(1, 45)], "x")
    nothing = trials_markdown([make_trial(0, None), make_trial(1, None, values={}, state="failed")], None)
    assert nothing.startswith("No trial has finished.")
    assert "three seeds" not in nothing
    assert rows_of(nothing)[3] == ["1", "-", "-", "-", "12", "failed"]


def test_a_trial_is_one_line_whatever_its_error_says() -> None:
    error = "a | b\nsecond line"
    header, rule, line = trials_markdown([make_trial(0, None, state="failed", error=error)], None).splitlines()[-3:]
    assert len(header) == len(rule) == len(line)
    assert r"failed: a \| b" in line
    assert "second" not in line


def test_values_are_written_as_the_command_line_takes_them() -> None:
    values = {"a": None, "b": True, "c": 3, "d": 1.23456e-5, "e": "soft"}
    assert rows_of(trials_markdown([make_trial(0, values=values)], None))[2][1:6] == [
        "null",
        "true",
        "3",
        "1.235e-05",
        "soft",
    ]


def test_csv_reads_back_unrounded() -> None:
    trials = [make_trial(0, 45, values={"rate": 0.1 + 0.2}), make_trial(1, None, state="failed", error="no, never")]
    finished, failed = csv.DictReader(io.StringIO(trials_csv(trials)))
    assert float(finished["rate"]) == 0.1 + 0.2
    assert float(finished["accuracy"]) == 0.75
    assert (finished["number"], finished["images"], finished["seconds"]) == ("0", "60", "12.0")
    assert (failed["state"], failed["error"], failed["accuracy"], failed["rate"]) == ("failed", "no, never", "", "")


def test_each_key_has_its_panel_with_every_trial_in_it() -> None:
    trials = [make_trial(number, 40 + number) for number in range(4)] + [make_trial(4, None)]
    rate, alpha = draw(trials, ["optimisation.learning_rate"]).axes
    assert (rate.get_xscale(), alpha.get_xscale()) == ("log", "linear")
    assert (rate.get_xlabel(), alpha.get_xlabel()) == ("optimisation.learning_rate", "model.alpha")
    drawn = {
        (round(float(x), 6), round(float(y), 6)) for container in rate.containers for x, y in container[0].get_xydata()
    }
    assert drawn == {(round(0.01 * (n + 1), 6), round(100 * (40 + n) / 60, 6)) for n in range(4)}
    assert rate.get_legend_handles_labels()[1] == ["trial", "the config's own values", "best: trial 3"]


def test_choices_of_several_kinds_share_an_axis() -> None:
    chosen = ("area", 0.5, None, True)
    trials = [make_trial(number, values={"alpha": value}) for number, value in enumerate(chosen)]
    (axes,) = draw(trials, []).axes
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    assert {label.get_text() for label in axes.get_xticklabels()} == {"area", "0.5", "null", "true"}


def test_nothing_finished_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no trial finished"):
        draw([make_trial(0, None)], [])
    write_search(tmp_path, [make_trial(0, None)], [], None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "trials.csv", "trials.md"]


def test_all_files_are_written(tmp_path: Path) -> None:
    text = write_search(tmp_path, [make_trial(0), make_trial(1)], [], "x")
    assert (tmp_path / "trials.md").read_text(encoding="utf-8") == text
    assert (tmp_path / "figures" / "search.png").read_bytes().startswith(b"\x89PNG")
    xml.etree.ElementTree.parse(tmp_path / "figures" / "search.svg")
    assert len((tmp_path / "trials.csv").read_text(encoding="utf-8").splitlines()) == 3
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    order = [
        page.index(part) for part in ("Best of 2: trial 0", "model.alpha", "data:image/svg", "<pre>x</pre>", "Notes")
    ]
    assert order == sorted(order)
