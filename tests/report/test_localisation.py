"""The report about heat maps: means over seeds, differences between networks, and what they say in words."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from fpcn_lightning.errors import UserError
from fpcn_lightning.report.experiments import Experiment, read_experiments
from fpcn_lightning.report.heat_section import HeatSection, heat_section
from fpcn_lightning.report.write import write_report
from fpcn_lightning.runs.heat_maps import MEASURES_NAME, OPTIONS_NAME, read_heat_maps, write_heat_maps
from tests.report.run_folders import leave_run

PICTURES = 20
KEY = {"method": "grad_cam", "test": True, "curves": 48, "steps": 16, "split": "abc"}
Values = Mapping[str, float | Sequence[float]]


def leave_heat(folder: Path, values: Values, pictures: int = PICTURES, key: Mapping[str, object] | None = None) -> None:
    """`heat_maps.csv` with these values of each measure, or with the same one for all pictures."""
    columns = {key: [each] * pictures if isinstance(each, float | int) else list(each) for key, each in values.items()}
    rows = [
        {"name": f"{number:04}.jpg", "label": "basalt", "predicted": "basalt"}
        | {key: float(column[number]) for key, column in columns.items()}
        for number in range(pictures)
    ]
    regions = [key.removeprefix("changed_") for key in values if key.startswith("changed_")]
    write_heat_maps(folder, rows, regions, key or KEY)


def leave(root: Path, variant: str, seed: int, values: Values, **config: object) -> None:
    folder = root / variant / f"seed-{seed}"
    leave_run(folder, [1] * PICTURES, variant=variant, seed=seed, config=config)
    leave_heat(folder, values)


def section_of(root: Path) -> tuple[Experiment, HeatSection]:
    (experiment,) = read_experiments(root)
    section = heat_section(experiment)
    assert section is not None
    return experiment, section


def within(group: str, condition: str) -> dict[str, object]:
    return {"within": {"group": group, "condition": condition, "baseline": "varied"}}


def test_a_row_holds_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    for seed, energy in enumerate((0.5, 0.6, 0.7)):
        leave(tmp_path, "plain", seed, {"object_share": 0.25, "energy_inside": energy})
    _, section = section_of(tmp_path)
    assert section.markdown.splitlines()[0].split(" | ")[-1].strip(" |") == "energy inside %"
    assert "| plain   | 0, 1, 2 | 20       | 25.0 ± 0.0 | 60.0 ± 10.0" in section.markdown
    # .6 on a quarter and .4 on three quarters: 2.4 against .533 on an equal area.
    assert "60.0 % of the heat lies on the object, which covers 25.0 % of the picture" in section.markdown
    assert "4.5 times as dense there as around it" in section.markdown


def test_differences_are_paired_and_taken_to_the_reference(tmp_path: Path) -> None:
    lifts = np.linspace(0, 0.3, PICTURES)
    for seed in range(3):
        config = {"report": {"reference": "plain"}}
        leave(tmp_path, "plain", seed, {"energy_inside": list(0.3 + lifts)}, **config)
        leave(tmp_path, "fpcn", seed, {"energy_inside": list(0.4 + lifts)}, **config)
    _, section = section_of(tmp_path)
    (comparison,) = section.comparisons
    assert (comparison.name, comparison.partner) == ("fpcn", "plain")
    gain = comparison.gains["energy_inside"]
    assert [gain.value, gain.low, gain.high] == pytest.approx([0.1, 0.1, 0.1])
    assert "fpcn against plain: +10.0 [10.0, 10.0] points of its heat on the object: more." in section.markdown


def test_a_shortcut_is_said_where_both_measures_show_it_against_the_baseline(tmp_path: Path) -> None:
    measures = {
        ("plain", "varied"): (0.7, 0.1),
        ("plain", "shortcut"): (0.5, 0.6),  # looks at the background and relies on it
        ("fpcn", "varied"): (0.7, 0.1),
        ("fpcn", "shortcut"): (0.5, 0.1),  # looks at it without relying on it
        ("student", "varied"): (0.7, 0.1),
        ("student", "shortcut"): (0.7, 0.6),  # relies on it without showing it
    }
    for (group, condition), (energy, changed) in measures.items():
        for seed in range(2):
            values = {"object_share": 0.5, "energy_inside": energy, "changed_background": changed}
            leave(tmp_path, f"{group}-{condition}", seed, values, report=within(group, condition))
    _, section = section_of(tmp_path)
    partners = {(each.name, each.partner, each.within_group) for each in section.comparisons}
    groups = list(dict.fromkeys(each.name.partition("-")[0] for each in section.found))
    assert partners == {
        *((f"{group}-shortcut", f"{group}-varied", True) for group in groups),
        *(
            (f"{group}-{condition}", f"{groups[0]}-{condition}", False)
            for group in groups[1:]
            for condition in ("varied", "shortcut")
        ),
    }
    found = [sentence for sentence in section.sentences if "A shortcut" in sentence]
    assert len(found) == 1
    assert "plain-shortcut looks at the background, and relies on it, more than plain-varied" in found[0]
    hidden = [sentence for sentence in section.sentences if "its heat maps do not show it" in sentence]
    assert any("student-shortcut relies on the background more than student-varied" in each for each in hidden)
    assert not any("fpcn-shortcut relies on" in each for each in hidden)


def test_measures_by_another_method_are_not_compared(tmp_path: Path) -> None:
    config = {"report": {"reference": "plain"}}
    leave(tmp_path, "plain", 0, {"energy_inside": 0.5}, **config)
    leave(tmp_path, "fpcn", 0, {"energy_inside": 0.6}, **config)
    leave_heat(tmp_path / "fpcn" / "seed-0", {"energy_inside": 0.6}, key=KEY | {"method": "layer_cam"})
    _, section = section_of(tmp_path)
    assert not section.comparisons
    assert "fpcn is not compared with plain: they were measured with different options" in section.markdown
    assert "Heat maps by grad_cam and layer_cam" in section.markdown


def test_half_measured_is_not_measured(tmp_path: Path) -> None:
    leave(tmp_path, "plain", 0, {"energy_inside": 0.5})
    (tmp_path / "plain" / "seed-0" / OPTIONS_NAME).unlink()
    (experiment,) = read_experiments(tmp_path)
    assert heat_section(experiment) is None


def test_without_masks_it_says_so_and_names_what_was_painted_over(tmp_path: Path) -> None:
    for seed in range(2):
        config = {"report": {"reference": "plain"}}
        leave(tmp_path, "plain", seed, {"changed_ruler": 0.1, "changed_label": 0.0}, **config)
        leave(tmp_path, "fpcn", seed, {"changed_ruler": 0.4, "changed_label": 0.0}, **config)
    _, section = section_of(tmp_path)
    assert "plain: these pictures have no true masks" in section.markdown
    assert "the ruler 10.0 %, the label 0.0 %" in section.markdown
    assert "+30.0 [30.0, 30.0] points of predictions that change without the ruler: more" in section.markdown
    assert "+0.0 [0.0, 0.0]" in section.markdown


def test_what_hangs_on_the_background_more_than_on_the_object_is_said(tmp_path: Path) -> None:
    leave(tmp_path, "plain", 0, {"changed_background": 0.6, "changed_object": 0.2, "changed_ruler": 0.1})
    _, section = section_of(tmp_path)
    assert "its predictions depend on the background more than on the object" in section.markdown
    assert "changed without ruler %" in section.markdown


def test_pictures_without_a_measure_are_left_out_of_its_mean(tmp_path: Path) -> None:
    curve = [0.2] * 5 + [float("nan")] * 15
    leave(tmp_path, "plain", 0, {"energy_inside": 0.5})
    rows = [
        {"name": f"{number:04}.jpg", "label": "a", "predicted": "a", "energy_inside": 0.5}
        | ({} if np.isnan(curve[number]) else {"deletion": curve[number]})
        for number in range(PICTURES)
    ]
    write_heat_maps(tmp_path / "plain" / "seed-0", rows, [], KEY)
    _, section = section_of(tmp_path)
    assert section.found[0].samples["deletion"].outcomes.shape == (1, 5)
    assert section.found[0].mean("deletion") == pytest.approx(0.2)


def test_runs_that_were_measured_otherwise_are_left_out_with_a_word(tmp_path: Path) -> None:
    for seed in range(2):
        leave(tmp_path, "plain", seed, {"energy_inside": 0.5})
        leave(tmp_path, "fpcn", seed, {"energy_inside": 0.5})
    leave_heat(tmp_path / "fpcn" / "seed-1", {"energy_inside": 0.5}, pictures=PICTURES - 1)
    _, section = section_of(tmp_path)
    assert [each.name for each in section.found] == ["plain"]
    assert any(
        sentence.startswith("No heat maps of fpcn: not all its runs were measured with the same options")
        for sentence in section.notes
    )


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / OPTIONS_NAME).write_text("{}", encoding="utf-8")
    (tmp_path / MEASURES_NAME).write_text("name,label,predicted,energy_inside\na.jpg,a,a,much\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"heat_maps\.csv cannot be used .* task=explain again"):
        read_heat_maps(tmp_path)


def test_the_report_has_it_on_its_page_and_in_files_and_drops_what_is_gone(tmp_path: Path) -> None:
    for seed in range(2):
        leave(tmp_path, "plain", seed, {"energy_inside": 0.5 + 0.1 * seed, "object_share": 0.4})
    page = write_report(read_experiments(tmp_path), tmp_path).read_text("utf-8")
    assert "energy inside %" in page
    assert "55.0 ± 7.1" in page
    rows = list(csv.DictReader(io.StringIO((tmp_path / "localisation.csv").read_text("utf-8"))))
    energy = next(row for row in rows if row["measure"] == "energy_inside")
    assert (energy["variant"], energy["seeds"], energy["pictures"]) == ("plain", "0 1", "20")
    assert float(energy["mean"]) == pytest.approx(0.55)
    for path in tmp_path.rglob(MEASURES_NAME):
        path.unlink()
    assert "energy inside" not in write_report(read_experiments(tmp_path), tmp_path).read_text("utf-8")
    assert not list(tmp_path.glob("localisation.*"))
